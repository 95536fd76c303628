"""From the characters of a document to those a model sees, with the way back.

A model sees entities decoded and, in HTML, any white space as one space. Control characters never reach it: those
inside a sentence are gone from its translation, those elsewhere stay in their literal. Knows nothing of tags,
sentences or of what is kept.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from services.tasks.translation.text.parts import Words

_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
# Names and numbers are bounded: no entity is longer, and the standard library refuses numbers of thousands of digits.
_ENTITY = r"&(?:\#[0-9]{1,7};?|\#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};?)"
_PLAIN_UNIT = re.compile(_CONTROL)
_MARKUP_UNIT = re.compile(rf"{_ENTITY}|[ \t\n\r\f]+|{_CONTROL}")


def shown(source: str, *, markup: bool) -> tuple[str, Sequence[int]]:
    """What a model sees of ``source``, and where in ``source`` each of its characters starts (and the last one ends).

    The places never decrease, so cutting both by them loses nothing.
    """
    unit = _MARKUP_UNIT if markup else _PLAIN_UNIT
    if not unit.search(source):
        return source, range(len(source) + 1)
    text: list[str] = []
    places: list[int] = []
    done = 0
    for match in unit.finditer(source):
        new = _decoded(match.group())
        text += source[done : match.start()], new
        places += range(done, match.start())
        places += [match.start()] * len(new)
        done = match.end()
    text.append(source[done:])
    places += range(done, len(source) + 1)
    places[0], places[-1] = 0, len(source)
    return "".join(text), places


def decoded(source: str) -> Iterator[str]:
    """What a reader sees of HTML without tags, bit by bit: as much is decoded as is asked for."""
    done = 0
    for match in _MARKUP_UNIT.finditer(source):
        yield source[done : match.start()]
        yield _decoded(match.group())
        done = match.end()
    yield source[done:]


def divide(words: Words, at: int, *, markup: bool) -> tuple[Words, Words]:
    """Cut before the character ``at`` of what a model sees."""
    text, places = shown(words.source, markup=markup)
    place = places[at] if 0 < at < len(text) else len(words.source) * (at > 0)
    return Words(text[:at], words.source[:place]), Words(text[at:], words.source[place:])


def edges(text: str) -> tuple[int, int]:
    """Where the white space at the start of a text ends and where that at its end begins."""
    start = len(text) - len(text.lstrip())
    return start, max(start, len(text.rstrip()))


def piece_at(starts: Sequence[int], offset: int) -> int:
    """The last of the sorted ``starts`` that is not past ``offset``."""
    return bisect_right(starts, offset) - 1


def _decoded(unit: str) -> str:
    char = html.unescape(unit)
    if char.isspace() and char != "\xa0":
        return " "
    return _PLAIN_UNIT.sub("", char)
