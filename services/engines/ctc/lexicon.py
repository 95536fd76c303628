"""Which tokens can follow the beginning of a word: a sorted list does for a tree."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_REMEMBERED = 1 << 15
"""Beginnings; a hundred bytes and one for each token."""


class Lexicon:
    """Known words.

    Args:
        words: all of them.
        written: what tokens write, by id.
        size: of the vocabulary.
    """

    def __init__(self, words: Iterable[str], written: Mapping[int, str], size: int) -> None:
        self._words = sorted(set(words))
        self._known = frozenset(self._words)
        self._written = tuple(written.items())
        self._size = size
        self.following = lru_cache(_REMEMBERED)(self._following)
        """Tokens with which a word goes on, or ends, after these letters: bool ``[tokens]``, not to be written to."""

    def __contains__(self, word: str) -> bool:
        return word in self._known

    def begins(self, letters: str) -> bool:
        """Whether a word begins so."""
        place = bisect_left(self._words, letters)
        return place < len(self._words) and self._words[place].startswith(letters)

    def _following(self, letters: str) -> Mask:
        found = np.zeros(self._size, dtype=np.bool_)
        if self.begins(letters):
            for number, token in self._written:
                found[number] = self.begins(letters + token)
        return found
