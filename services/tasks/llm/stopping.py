"""Stop texts: where an answer ends, whatever tokens and parts it comes in.

An answer ends with the first character that completes a stop text, and is told up to where that text begins; so the
borders of tokens change nothing.
"""

from collections.abc import Sequence


class Stops:
    """The stop texts of one request; shared by its answers."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(dict.fromkeys(texts))
        self._beginnings = frozenset(text[:length] for text in self._texts for length in range(1, len(text)))
        self._longest = max(map(len, self._texts), default=1) - 1

    def cut(self, text: str) -> int | None:
        """Where the text is to be cut, if a stop text is in it."""
        found = [(start + len(stop), start) for stop in self._texts if (start := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def held(self, text: str) -> int:
        """How many of its last characters could begin a stop text."""
        longest = min(self._longest, len(text))
        return next((length for length in range(longest, 0, -1) if text[-length:] in self._beginnings), 0)
