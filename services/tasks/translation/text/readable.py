"""What a reader sees of HTML, near enough to tell its language. Knows no language."""

import html
import re
from collections.abc import Iterator

_TOKEN = re.compile(r"[^<]+|<(/?)([a-zA-Z]*)[^>]*>?")
_UNSEEN = {"script", "style", "textarea", "title", "template"}
_ENDLESS = re.compile(r"&#[xX]?[0-9a-fA-F]{8,};?")
"""No character; as a number it may be longer than Python reads."""


def readable(text: str, most: int = 1000) -> str:
    """About the first ``most`` characters of its text: no tags, no scripts, entities decoded."""
    found, length = [], 0
    for piece in _pieces(text, 4 * most):
        shown = html.unescape(_ENDLESS.sub(" ", piece[: 4 * most]))
        found.append(shown)
        length += len(shown.strip())
        if length >= most:
            break
    return " ".join(found).encode(errors="ignore").decode()


def _pieces(text: str, longest: int) -> Iterator[str]:
    unseen = ""
    for token in _TOKEN.finditer(text):
        name = (token[2] or "").lower()
        if token[0][0] != "<":
            if not unseen:
                yield token[0][:longest]
        elif not unseen and not token[1] and name in _UNSEEN:
            unseen = name
        elif token[1] and name == unseen:
            unseen = ""
