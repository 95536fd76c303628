"""The way of translating a sentence that no model can spoil: what stands between kept pieces, bit by bit.

A model that loses or doubles holders translates the words between them one by one, and what is kept never reaches it.
The translation reads worse; everything kept is in its place, with the source's spacing. Knows no model.
"""

import html
import re
from collections.abc import Sequence

from services.tasks.translation.text.keeping import PRIVATE
from services.tasks.translation.text.parts import Kept, Piece, Sentence, Words, has_letters
from services.tasks.translation.text.shown import edges

_STOP = re.compile(r"[.。]\s*$")
_PRIVATE = re.compile(f"[{PRIVATE}]")


def in_pieces(sentence: Sentence) -> tuple[str, ...]:
    """The texts to translate one by one: words between kept pieces, without the white space around them."""
    return tuple(piece.text.strip() for piece in sentence.pieces if _is_translated(piece))


def join_pieces(sentence: Sentence, translations: Sequence[str]) -> str:
    """The sentence with ``translations``, one for each of `in_pieces`, and everything kept in its place.

    Pieces without letters pass unchanged. A full stop that a model adds to half a sentence is taken away, as are
    holders it makes up.

    Raises:
        ValueError: not as many translations as pieces.
    """
    expected = len(in_pieces(sentence))
    if len(translations) != expected:
        raise ValueError(f"{len(translations)} translations for {expected} pieces")
    remaining = iter(translations)
    return "".join(
        _rejoined(piece, next(remaining), markup=sentence.markup)
        if isinstance(piece, Words) and _is_translated(piece)
        else _unchanged(piece, markup=sentence.markup)
        for piece in sentence.pieces
    )


def _is_translated(piece: Piece) -> bool:
    return isinstance(piece, Words) and has_letters(piece.text)


def _rejoined(words: Words, translation: str, *, markup: bool) -> str:
    start, end = edges(words.text)
    translated = _PRIVATE.sub("", translation).strip()
    if not _STOP.search(words.text):
        translated = _STOP.sub("", translated)
    return words.text[:start] + _escaped(translated, markup=markup) + words.text[end:]


def _unchanged(piece: Piece, *, markup: bool) -> str:
    return piece.output if isinstance(piece, Kept) else _escaped(piece.text, markup=markup)


def _escaped(text: str, *, markup: bool) -> str:
    return html.escape(text, quote=False) if markup else text
