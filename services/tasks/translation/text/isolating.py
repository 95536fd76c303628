"""Keeps what is long and must not change away from models that would be shown it as it is. Knows no model."""

from collections.abc import Iterator

from services.tasks.translation.text.parts import Kept, Literal, Part, Piece, Sentence


def isolate(sentence: Sentence, longest: int) -> tuple[Part, ...]:
    """The sentence, or where a kept piece has more than ``longest`` characters, what stands around it and it alone.

    Outputs in order are those of the sentence.
    """
    return tuple(_parts(sentence, longest))


def _parts(sentence: Sentence, longest: int) -> Iterator[Part]:
    pieces: list[Piece] = []
    for piece in sentence.pieces:
        if isinstance(piece, Kept) and len(piece.text) > longest:
            if pieces:
                yield Sentence(tuple(pieces), sentence.markup)
            yield Literal(piece.output)
            pieces = []
        else:
            pieces.append(piece)
    if pieces:
        yield Sentence(tuple(pieces), sentence.markup)
