"""The terms of one document, found wherever they stand as whole words.

Looking is about as quick for a thousand terms as for one: at the start of each word, the terms that could stand there
are the one that sorts last before the text, and those it begins with. Knows nothing of what becomes of a term.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from services.tasks.translation.text.parts import SPACELESS, is_spaceless

_STARTS = re.compile(rf"(?<!\w)\S|[{SPACELESS}]")
"""Where a term may start. Also "C++" and ".NET" end at words: neither is meant in "C++11" or "ASP.NET"."""


class Terms:
    """Finds terms, none of them empty and without white space around them."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._terms = sorted(set(terms))
        self._ends_anywhere = [is_spaceless(term[-1]) for term in self._terms]
        self._within = list(_longest_beginnings(self._terms))
        self._firsts = {term[0] for term in self._terms}
        self._longest = max(map(len, self._terms), default=0)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each: in order, without overlaps, of those that start together the longest."""
        done = 0
        for match in _STARTS.finditer(text) if self._terms else ():
            start = match.start()
            if start >= done and match.group() in self._firsts and (end := self._end(text, start)):
                yield start, end
                done = end

    def _end(self, text: str, start: int) -> int | None:
        # Between a term and a text that begins with it, only texts sort that begin with it too. So what fits is the
        # last term that does not sort after the text, or a beginning of that term.
        index: int | None = bisect_right(self._terms, text[start : start + self._longest]) - 1
        while index is not None and index >= 0:
            term = self._terms[index]
            end = start + len(term)
            if (self._ends_anywhere[index] or not _is_word(text[end : end + 1])) and text.startswith(term, start):
                return end
            index = self._within[index]
        return None


def _longest_beginnings(terms: Iterable[str]) -> Iterator[int | None]:
    """For each of the sorted terms, the index of the longest other one that it begins with."""
    open_terms: list[tuple[int, str]] = []
    for index, term in enumerate(terms):
        while open_terms and not term.startswith(open_terms[-1][1]):
            open_terms.pop()
        yield open_terms[-1][0] if open_terms else None
        open_terms.append((index, term))


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
