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
            if text.startswith(term, start) and _ends_word(term, text, start + len(term)):
                return start + len(term)
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


def _ends_word(term: str, text: str, end: int) -> bool:
    return is_spaceless(term[-1]) or not (text[end : end + 1].isalnum() or text.startswith("_", end))
