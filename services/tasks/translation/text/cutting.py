"""A sentence that is too long for a model -> shorter ones that together are the sentence.

Cuts where a reader would pause, else between words, else where nothing breaks, else anywhere. Does not know what makes
a sentence too long, nor models.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, chain

from services.tasks.translation.text.parts import Kept, Piece, Sentence, Words
from services.tasks.translation.text.shown import divide, shown

_KEPT = "\ufffc"
"""Stands for a kept piece where places are looked for."""

# Where a reader pauses, best first. The cut comes after the sign, so white space starts the second half.
_PAUSES = (
    re.compile(r"[;:.!?](?=\s)|[；：。！？]"),
    re.compile(r"[,،](?=\s)|[，、]|(?<=\s)[–—-](?=\s)|[)\]»”](?=\s)"),
    re.compile(r"(?=\s)"),
)
_JOINERS = "\u200d\ufe0e\ufe0f"


def cut(sentence: Sentence, fits: Callable[[Sentence], bool]) -> list[Sentence]:
    """Sentences that fit, in order; their sources joined are the sentence's.

    ``fits`` is asked less than twice for each part given back. Characters stay with their accents unless those alone
    are too long. A single kept piece, code point or entity stays whole: it is given back although it does not fit.
    """
    done: list[Sentence] = []
    waiting = [sentence]
    while waiting:
        part = waiting.pop()
        place = None if fits(part) else _place(part)
        if place is None:
            done.append(part)
        else:
            waiting += reversed(_divided(part, place))
    return done


def cut_to_holders(sentence: Sentence, most: int) -> list[Sentence]:
    """Sentences with at most ``most`` kept pieces each, in order; ``most`` is at least 1."""
    return cut(sentence, lambda part: len(part.kept) <= most)


def _outline(sentence: Sentence) -> str:
    return "".join(_KEPT if isinstance(piece, Kept) else piece.text for piece in sentence.pieces)


def _place(sentence: Sentence) -> int | None:
    """Where to cut, in characters from the start; None if there is no place."""
    outline = _outline(sentence)
    middle = len(outline) / 2  # halves are cut again: near the middle there are few and even parts
    low, high = len(outline) // 4, len(outline) - len(outline) // 4
    for pause in _PAUSES:
        places = [match.end() for match in pause.finditer(outline, low, high) if 0 < match.end() < len(outline)]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    inside = _inside_entities(sentence)
    apart = (place for place in _outwards(outline) if place not in inside and not _is_joined(outline, place))
    anywhere = (place for place in _outwards(outline) if place not in inside)
    return next(chain(apart, anywhere), None)


def _outwards(outline: str) -> Iterator[int]:
    """Places inside a text, the middle first."""
    middle, rest = divmod(len(outline), 2)
    for distance in range(middle + rest):
        low, high = middle - distance, middle + rest + distance
        yield from (place for place in dict.fromkeys([low, high]) if 0 < place < len(outline))


def _inside_entities(sentence: Sentence) -> set[int]:
    """Places between two characters that one entity stands for."""
    if not sentence.markup:
        return set()
    found = set()
    base = 0
    for piece in sentence.pieces:
        if isinstance(piece, Words):
            text, places = shown(piece.source, markup=True)
            found |= {base + at for at in range(1, len(text)) if places[at] == places[at - 1]}
        base += 1 if isinstance(piece, Kept) else len(piece.text)
    return found


def _is_joined(outline: str, place: int) -> bool:
    """Whether the characters on both sides of a place are one to a reader."""
    before, after = outline[place - 1], outline[place]
    if _KEPT in (before, after):
        return False
    return (
        bool(unicodedata.combining(after))
        or unicodedata.category(after) in {"Mn", "Mc", "Me"}
        or after in _JOINERS
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
    )


def _divided(sentence: Sentence, place: int) -> tuple[Sentence, Sentence]:
    lengths = (1 if isinstance(piece, Kept) else len(piece.text) for piece in sentence.pieces)
    starts = [0, *accumulate(lengths)]
    index = bisect_right(starts, place) - 1
    left: list[Piece] = list(sentence.pieces[:index])
    right: list[Piece] = list(sentence.pieces[index:])
    if place > starts[index] and right and not isinstance(right[0], Kept):
        head, right[0] = divide(right[0], place - starts[index], markup=sentence.markup)
        left.append(head)
    return Sentence(tuple(left), sentence.markup), Sentence(tuple(right), sentence.markup)
