"""White space around what is kept: set apart for the model, set right again in its translation.

A model writes spaces where its training had them, not where the source does. Knows pieces and their neighbours; does
not know how kept pieces are found in a translation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.tasks.translation.text.parts import Kept, Piece, Sentence, Words, is_spaced_word
from services.tasks.translation.text.shown import edges
from services.tasks.translation.text.tags import Kind, kind_of


def spread(sentence: Sentence, texts: Sequence[str]) -> Iterator[str]:
    """The sentence's words, and ``texts`` for its kept pieces, with a space where a tag touches a word."""
    remaining = iter(texts)
    before: Piece | None = None
    for piece in sentence.pieces:
        if before and _wants_space(before, piece):
            yield " "
        yield piece.text if isinstance(piece, Words) else next(remaining)
        before = piece


def respaced(words: Sequence[str], found: Sequence[int], sentence: Sentence) -> list[str]:
    """The words of a translation with the source's spacing.

    Args:
        words: before, between and after the kept pieces.
        found: which piece is kept after each of them but the last, as an index into ``sentence.kept``.
        sentence: the source.
    """
    spaced = list(words)
    neighbours = list(_neighbours(sentence.pieces))
    for place, index in enumerate(found):
        fix = _beside_tag if neighbours[index].kept.tag else _beside_word
        spaced[place : place + 2] = fix(spaced[place], spaced[place + 1], neighbours[index])
    before, after = outer_space(sentence)
    spaced[0] = before + spaced[0].lstrip()
    spaced[-1] = spaced[-1].rstrip() + after
    return spaced


def outer_space(sentence: Sentence) -> tuple[str, str]:
    """White space at the start and at the end of a sentence: only where a longer one was cut."""
    first, last = (
        piece.text if isinstance(piece, Words) else "" for piece in (sentence.pieces[0], sentence.pieces[-1])
    )
    return first[: edges(first)[0]], last[edges(last)[1] :]


@dataclass(frozen=True)
class _Neighbours:
    """A kept piece and the characters it stands between in the source; none at the ends of the sentence."""

    kept: Kept
    before: str
    after: str

    @property
    def hugs(self) -> tuple[bool, bool]:
        """Whether a tag belongs to what stands before it, and to what stands after it."""
        before, after = bool(self.before.strip()), bool(self.after.strip())
        if before and after and not (_is_word(self.before) and _is_word(self.after)):  # not inside a word
            kind = kind_of(self.kept.source)
            return kind is not Kind.OPENS, kind is not Kind.CLOSES
        return before, after


def _neighbours(pieces: Sequence[Piece]) -> Iterator[_Neighbours]:
    visible = [piece for piece in pieces if piece.text]
    for before, piece, after in zip([None, *visible], visible, [*visible[1:], None], strict=False):
        if isinstance(piece, Kept):
            yield _Neighbours(piece, before.text[-1] if before else "", after.text[0] if after else "")


def _beside_tag(left: str, right: str, neighbours: _Neighbours) -> tuple[str, str]:
    hugs_left, hugs_right = neighbours.hugs
    bare_left, bare_right = left.rstrip(), right.lstrip()
    if hugs_left and hugs_right:
        return bare_left, bare_right
    if hugs_left:  # a space the model wrote on the wrong side still parts two words
        return bare_left, f" {right}" if bare_left != left and _is_word(right[:1]) else right
    if hugs_right:
        return f"{left} " if bare_right != right and _is_word(left[-1:]) else left, bare_right
    return left, right


def _beside_word(left: str, right: str, neighbours: _Neighbours) -> tuple[str, str]:
    """Signs that touched the piece touch it again ("$5", "5%"); words that did not are set apart again."""
    bare_left, bare_right = left.rstrip(), right.lstrip()
    if _is_sign(neighbours.before) and bare_left.endswith(neighbours.before):
        left = bare_left
    elif not neighbours.before.strip() and _is_word(left[-1:]):
        left += " "
    if _is_sign(neighbours.after) and bare_right.startswith(neighbours.after):
        right = bare_right
    elif not neighbours.after.strip() and _is_word(right[:1]):
        right = " " + right
    return left, right


def _wants_space(before: Piece, after: Piece) -> bool:
    if isinstance(before, Words) and isinstance(after, Kept):
        return after.tag and _is_word(before.text[-1:])
    if isinstance(before, Kept) and isinstance(after, Words):
        return before.tag and _is_word(after.text[:1])
    return isinstance(before, Kept) and isinstance(after, Kept) and before.tag != after.tag


def _is_word(char: str) -> bool:
    return bool(char) and is_spaced_word(char)


def _is_sign(char: str) -> bool:
    return bool(char.strip()) and not char.isalnum()
