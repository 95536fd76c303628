"""Words and phrases that a request calls likelier: what each token of them adds to a text.

A phrase begins where a word does. Each letter of it adds as soon as it is written, or the beam would not keep it; what
a phrase added is taken back where the text leaves it before its end. So a text has in the end what its whole hot words
are worth, and in the middle what it may have by then (Zhao et al. 2019, shallow fusion biasing).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from services.engines.ctc.posteriors import Floats
from services.engines.ctc.vocabulary import Labels, Vocabulary


@dataclass(slots=True, eq=False)
class _Node:
    """A beginning of phrases.

    Args:
        letters: of it.
        paid: of those, how many a shorter phrase has already earned.
        earned: what reaching it earns for good.
    """

    letters: int = 0
    paid: int = 0
    earned: int = 0
    children: dict[int, "_Node"] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Letters that count only until it is left."""
        return self.letters - self.paid


HotPlace = tuple[_Node, ...]
"""Phrases that are under way."""


class HotWords:
    """A `Scorer` of phrases.

    Args:
        phrases: labels that write each.
        vocabulary: of the labels.
        bonus: for each letter.
    """

    def __init__(self, phrases: Iterable[Labels], vocabulary: Vocabulary, bonus: float) -> None:
        self._vocabulary = vocabulary
        self._bonus = bonus
        self._root = _Node()
        end = () if vocabulary.delimiter is None else (vocabulary.delimiter,)
        for phrase in sorted(set(phrases), key=len):  # shorter ones first: they pay for the beginning of longer ones
            self._add((*phrase, *end))

    def first(self) -> HotPlace:
        """No letter of any."""
        return (self._root,)

    def after(self, place: HotPlace, token: int) -> HotPlace:
        """Phrases that go on, and, where a word begins, all of them."""
        going = tuple(node for node in self._reached(place, token) if node.children)
        return (*going, self._root) if self._vocabulary.delimiter in (None, token) else going

    def gains(self, place: HotPlace) -> Floats:
        """What each token would earn, less what is lost by leaving phrases."""
        held = _held(place)
        found = np.full(self._vocabulary.size, -self._bonus * held)
        for token in {token for node in place for token in node.children}:
            going = _held(self.after(place, token))
            found[token] = self._bonus * (self._earned(place, token) + going - held)
        return found

    def end(self, place: HotPlace) -> float:
        """As if a word ended here; what is still held is lost."""
        delimiter = self._vocabulary.delimiter
        earned = 0 if delimiter is None else self._earned(place, delimiter)
        return self._bonus * (earned - _held(place))

    def _add(self, tokens: Labels) -> None:
        node, paid = self._root, 0
        for token in tokens:
            letters = node.letters + len(self._vocabulary.written.get(token, ""))
            node = node.children.setdefault(token, _Node(letters, paid))
            paid = max(paid, node.paid)
        node.earned = node.letters - node.paid
        node.paid = node.letters

    def _earned(self, place: HotPlace, token: int) -> int:
        return max((node.earned for node in self._reached(place, token)), default=0)

    @staticmethod
    def _reached(place: HotPlace, token: int) -> tuple[_Node, ...]:
        return tuple(node.children[token] for node in place if token in node.children)


def _held(place: HotPlace) -> int:
    return max((node.held for node in place), default=0)
