"""A back-off language model of words (Katz 1987), compact: a 3-gram takes 16 bytes.

An n-gram's key is the place of its first words among the n-grams one shorter, and its last word; keys of one order are
sorted, so a lookup is a search by halves for each word.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from services.engines.ctc.arpa import ArpaError, counts, opened, section

History = tuple[int, ...]
"""Ids of the words before, as many as matter, the last one last."""

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
_LN_10 = math.log(10)
_REMEMBERED = 1 << 16
"""Words after a history."""


@dataclass(frozen=True, slots=True)
class _Order:
    """N-grams of one length, sorted by key."""

    keys: memoryview
    probabilities: NDArray[np.float32]
    backoffs: NDArray[np.float32]

    def find(self, key: int) -> int:
        """Place of a key; -1 if there is none."""
        place = bisect_left(self.keys, key)
        return place if place < len(self.keys) and self.keys[place] == key else -1


class NGrams:
    """A language model; may be asked by several threads.

    Args:
        ids: of its words.
        orders: its n-grams, from those of one word on.
    """

    def __init__(self, ids: dict[str, int], orders: list[_Order]) -> None:
        self._ids = ids
        self._orders = orders
        self._unknown = ids[UNKNOWN]
        self.score = lru_cache(_REMEMBERED)(self._score)
        """``score(history, word)``: natural log probability of a word, known or not, and the history after it."""

    @classmethod
    def load(cls, file: Path, fold: Callable[[str], str]) -> "NGrams":
        """Read a file in ARPA format.

        Args:
            file: gzipped if its name ends in ``.gz``.
            fold: gives its words the case that texts have.

        Raises:
            ArpaError: it is damaged or too large.
        """
        with opened(file) as lines:
            several = counts(lines)
            ids, spellings, first = _unigrams(lines, several[0], fold)
            orders = [first]
            for order, count in enumerate(several[1:], start=2):
                orders.append(_ngrams(lines, order, count, spellings, orders))
        return cls(ids, orders)

    @property
    def words(self) -> list[str]:
        """Those that can be said."""
        return [word for word in self._ids if word not in (START, END, UNKNOWN)]

    def first(self) -> History:
        """The history of a sentence's first word."""
        return self._kept((self._ids[START],)) if START in self._ids else ()

    def end(self, history: History) -> float:
        """Natural log probability that the sentence ends here; 0 of a model without ends."""
        return self.score(history, END)[0] if END in self._ids else 0.0

    def _score(self, history: History, word: str) -> tuple[float, History]:
        number = self._ids.get(word, self._unknown)
        backoff = 0.0
        for start in range(len(history) + 1):
            context = history[start:]
            place = self._place((*context, number))
            if place >= 0:
                break
            known = self._place(context)
            backoff += float(self._orders[len(context) - 1].backoffs[known]) if known >= 0 else 0.0
        probability = backoff + float(self._orders[len(context)].probabilities[place])
        return probability * _LN_10, self._kept((*history, number))

    def _kept(self, history: History) -> History:
        return history[max(0, len(history) - len(self._orders) + 1) :]

    def _place(self, words: History) -> int:
        """Of an n-gram in its order; -1 if there is none."""
        place = words[0]
        for order, word in zip(self._orders[1:], words[1:], strict=False):
            place = order.find(place * len(self._ids) + word)
            if place < 0:
                break
        return place


def _unigrams(lines: TextIO, count: int, fold: Callable[[str], str]) -> tuple[dict[str, int], dict[str, int], _Order]:
    """Ids of words, and of words as the file spells them. A single word's key is its id.

    A model without a word for unknown ones gets it, as rare as its rarest word.
    """
    ids: dict[str, int] = {}
    spellings: dict[str, int] = {}
    figures = array("f")
    for (word,), *both in section(lines, 1, count):
        spellings[word] = len(ids)
        if ids.setdefault(_folded(word, fold), len(ids)) != spellings[word]:
            raise ArpaError(f"language model: the word {word[:50]!r} is in it twice")
        figures.extend(both)
    if UNKNOWN not in ids:
        ids[UNKNOWN] = len(ids)
        figures.extend((min(figures[0::2]), 0.0))
    return ids, spellings, _order(np.arange(len(ids)), figures)


def _ngrams(lines: TextIO, order: int, count: int, spellings: dict[str, int], shorter: list[_Order]) -> _Order:
    words, figures = array("q"), array("f")
    try:
        for some, *both in section(lines, order, count):
            words.extend(map(spellings.__getitem__, some))
            figures.extend(both)
    except KeyError as error:
        raise ArpaError(f"language model: {error} is in its {order}-grams, but not in its 1-grams") from None
    table = np.array(words, dtype=np.int64).reshape(-1, order)
    vocabulary, keys = len(shorter[0].keys), table[:, 0]
    for place, one in enumerate(shorter[1:], start=1):
        keys = _places(one, keys * vocabulary + table[:, place], order)
    return _order(keys * vocabulary + table[:, -1], figures)


def _places(order: _Order, keys: NDArray[np.int64], longer: int) -> NDArray[np.int64]:
    known = np.asarray(order.keys)
    places = np.searchsorted(known, keys)
    if len(keys) and (not len(known) or (known[places.clip(max=len(known) - 1)] != keys).any()):
        raise ArpaError(f"language model: one of its {longer}-grams begins with words that are no n-gram of it")
    return places


def _order(keys: NDArray[np.int64], figures: array) -> _Order:  # type: ignore[type-arg]  # its item type has no name
    ranked = np.argsort(keys, kind="stable")
    both = np.array(figures, dtype=np.float32).reshape(-1, 2)[ranked]
    sorted_keys = np.ascontiguousarray(keys[ranked])
    if (sorted_keys[1:] == sorted_keys[:-1]).any():
        raise ArpaError("language model: an n-gram is in it twice")
    return _Order(sorted_keys.data, both[:, 0].copy(), both[:, 1].copy())


def _folded(word: str, fold: Callable[[str], str]) -> str:
    """Special words are written in several cases, and mean the same."""
    lower = word.lower()
    return lower if lower in (START, END, UNKNOWN) else fold(word)
