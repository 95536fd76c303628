"""The little there is to know of a tag once it is found: its name, its kind, and its partner.

Knows single tags as text. Does not know HTML documents.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from services.tasks.translation.text.parts import Kept, Piece

_NAME = re.compile(r"</?([A-Za-z0-9][^\s/>]*)")
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)


class Kind(Enum):
    """What a tag does to an element."""

    OPENS = "opens"
    CLOSES = "closes"
    ALONE = "alone"
    """A void element, a comment, or a whole element kept as one."""


def name_of(tag: str) -> str:
    """Name in lower case; empty for a comment and the like."""
    match = _NAME.match(tag)
    return match.group(1).lower() if match else ""


def kind_of(tag: str) -> Kind:
    """What a tag does to the element it names."""
    if tag.startswith("</"):
        return Kind.CLOSES
    name = name_of(tag)
    # To a browser "<b/>" opens; nobody who writes it means so.
    return Kind.ALONE if not name or name in _VOID or tag.endswith("/>") else Kind.OPENS


def mates(pieces: Sequence[Piece]) -> dict[int, int]:
    """Indices of opening and closing tags that belong together, each pointing to the other."""
    found: dict[int, int] = {}
    open_tags: list[int] = []
    for index, tag in _tags(pieces):
        kind = kind_of(tag)
        if kind is Kind.OPENS:
            open_tags.append(index)
        elif kind is Kind.CLOSES and open_tags and name_of(pieces[open_tags[-1]].source) == name_of(tag):
            opener = open_tags.pop()
            found[opener], found[index] = index, opener
    return found


def _tags(pieces: Sequence[Piece]) -> Iterable[tuple[int, str]]:
    for index, piece in enumerate(pieces):
        if isinstance(piece, Kept) and piece.tag:
            yield index, piece.source
