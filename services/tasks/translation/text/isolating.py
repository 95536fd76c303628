"""A sentence with something very long in it -> what is around that, and that as it is.

A model without holders is shown what is kept. It need not read an image that is written out inside an address. Does
not know how long is too long.
"""

from collections.abc import Iterable, Iterator

from services.tasks.translation.text.document import merged
from services.tasks.translation.text.parts import Kept, Literal, Part, Piece, Sentence
from services.tasks.translation.text.segmentation import shelled


def isolate(sentence: Sentence, longest: int) -> tuple[Part, ...]:
    """The sentence in parts, without kept pieces that a model would see as more than ``longest`` characters.

    Those are literals, and so is white space around what is left of the sentence, and tags whose partners are not in
    the same part. A literal follows no literal. Nothing is translated across a piece that is taken out, so the
    translation may read worse; a sentence in which all is short comes back as it is.
    """
    if all(len(kept.text) <= longest for kept in sentence.kept):
        return (sentence,)
    return tuple(merged(_parts(sentence, longest)))


def _parts(sentence: Sentence, longest: int) -> Iterator[Part]:
    for group in _groups(sentence.pieces, longest):
        if isinstance(group, Kept):
            yield Literal(group.output)
        else:
            yield from shelled(group, markup=sentence.markup)


def _groups(pieces: Iterable[Piece], longest: int) -> Iterator[list[Piece] | Kept]:
    """The long kept pieces, and the pieces between them."""
    group: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Kept) and len(piece.text) > longest:
            yield group
            yield piece
            group = []
        else:
            group.append(piece)
    yield group
