"""A document -> an exact sequence of literals and sentences.

Joining the sources of all parts gives the document, character for character. Knows lines and what is written at their
start; HTML is `markup`'s.
"""

import re
from collections.abc import Iterable, Iterator

from services.tasks.translation.text.keeping import Keep
from services.tasks.translation.text.markup import blocks
from services.tasks.translation.text.parts import Literal, Part
from services.tasks.translation.text.segmentation import Segmenter

# A tab separates columns as a newline separates lines: what is on either side is translated on its own.
_BREAK = re.compile(r"([\n\r\t\v\f\x1c-\x1f\x85\u2028\u2029]+)")
_OPENING = re.compile(
    r"\s*(?:(?:>|\#{1,6}(?=\s)|[-*+•‣◦▪–—](?=\s)|\[[ xX]\](?=\s)|\(?\d{1,3}[.)](?=\s)|\(?[a-z]\)(?=\s))\s*)*"
)


def split(text: str, language: str, *, markup: bool, keep: Keep) -> tuple[Part, ...]:
    """The parts of a document in ``language``.

    Plain text: every line is for itself, so a newline always survives, and so do indentation, bullets, numbering,
    headings, quote marks and the bars of tables. HTML (``markup``): see `markup.blocks`. A literal follows no literal.
    """
    segmenter = Segmenter(language, keep, markup=markup)
    parts = _of_markup(text, segmenter) if markup else _of_lines(text, segmenter)
    return tuple(merged(parts))


def _of_markup(text: str, segmenter: Segmenter) -> Iterator[Part]:
    for block in blocks(text):
        if isinstance(block, Literal):
            yield block
        else:
            yield from segmenter.parts(block)


def _of_lines(text: str, segmenter: Segmenter) -> Iterator[Part]:
    for index, line in enumerate(_BREAK.split(text)):
        if index % 2:
            yield Literal(line)
        else:
            yield from _of_line(line, segmenter)


def _of_line(line: str, segmenter: Segmenter) -> Iterator[Part]:
    opening = _OPENING.match(line)
    start = opening.end() if opening else 0
    yield Literal(line[:start])
    rest = line[start:]
    for index, cell in enumerate(rest.split("|") if rest.startswith("|") else [rest]):
        if index:
            yield Literal("|")
        yield from segmenter.parts([cell])


def merged(parts: Iterable[Part]) -> Iterator[Part]:
    """The same parts without empty literals, neighbouring literals in one."""
    pending: list[str] = []
    for part in parts:
        if isinstance(part, Literal):
            pending.append(part.text)
            continue
        if text := "".join(pending):
            yield Literal(text)
        pending.clear()
        yield part
    if text := "".join(pending):
        yield Literal(text)
