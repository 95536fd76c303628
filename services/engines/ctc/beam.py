"""Prefix beam search: the most probable texts, each summed over the ways it can be said (Hannun et al. 2014).

A prefix is what has been written so far. At each frame it stays as it is (a blank, or its last token again) or grows by
a token. Its score is its log probability and what a scorer adds to it, which depends on nothing but the prefix: equal
prefixes that grew apart are one, and their probabilities add up. Delimiters that part nothing (first, doubled, last)
write nothing, so they make no prefix of their own.

One frame is a dozen operations on arrays of beam x tokens; only prefixes that are new are Python objects. CPU time for
a second of sound, 50 frames of 32 tokens of which some are thinkable, without a language model and with one (60,000
words, 600,000 n-grams):

    beam    4 tokens a frame    15 tokens a frame    24 tokens a frame
       8      0.003   0.006       0.004   0.006        0.006   0.007
      16      0.004   0.009       0.006   0.008        0.007   0.015
      32      0.004   0.010       0.006   0.011        0.009   0.030
"""

from dataclasses import dataclass
from typing import Generic

import numpy as np

from services.engines.ctc.posteriors import Floats, Ints
from services.engines.ctc.texts import PlaceT, Scorer, Text, Width
from services.engines.ctc.vocabulary import Labels


class _Prefix(Generic[PlaceT]):
    """A node of the tree of prefixes; numbered, so that arrays can tell of it."""

    __slots__ = ("children", "gains", "number", "parent", "place", "token")

    def __init__(self, parent: "_Prefix[PlaceT] | None", token: int, number: int, place: PlaceT, gains: Floats) -> None:
        self.parent, self.token, self.number, self.place, self.gains = parent, token, number, place, gains
        self.children: dict[int, _Prefix[PlaceT]] = {}

    def tokens(self) -> list[int]:
        """From the first on."""
        found: list[int] = []
        node = self
        while node.parent is not None:
            found.append(node.token)
            node = node.parent
        return found[::-1]


@dataclass(slots=True)
class _Beam(Generic[PlaceT]):
    """Prefixes, one row each; all arrays are ``[prefixes]``."""

    prefixes: list[_Prefix[PlaceT]]
    paused: Floats
    """Log probability of its paths that end in a blank."""
    voiced: Floats
    """Of those that end in its last token."""
    added: Floats
    """What the scorer has added so far."""

    @property
    def last(self) -> Ints:
        return np.array([prefix.token for prefix in self.prefixes])

    def chances(self) -> Floats:
        """Log probability of all of its paths."""
        return np.logaddexp(self.paused, self.voiced)


class PrefixSearch(Generic[PlaceT]):
    """Searches one utterance.

    Args:
        blank: id of the blank.
        delimiter: id of the token between words; None where tokens are words.
        scorer: what is added to probabilities.
        width: how far it looks.
    """

    def __init__(self, blank: int, delimiter: int | None, scorer: Scorer[PlaceT], width: Width) -> None:
        self._blank = blank
        self._delimiter = -1 if delimiter is None else delimiter
        self._scorer = scorer
        self._width = width
        # Before the first word it is as after a delimiter; where there is none, no token comes again.
        place = scorer.first()
        token = blank if delimiter is None else delimiter
        self._root: _Prefix[PlaceT] = _Prefix(None, token, 0, place, scorer.gains(place))
        self._count = 1

    def texts(self, chances: Floats) -> list[Text]:
        """The texts found, best first.

        Args:
            chances: log probabilities, ``[frames, tokens]``.
        """
        beam = _Beam([self._root], np.zeros(1), np.full(1, -np.inf), np.zeros(1))
        thinkable = chances >= np.minimum(self._width.floor, chances.max(axis=1, keepdims=True))
        thinkable &= chances > -np.inf
        thinkable[:, self._blank] = False
        for frame, row in zip(chances, thinkable, strict=True):
            tokens = np.flatnonzero(row)
            beam = self._grown(beam, frame, tokens) if len(tokens) else self._stayed(beam, frame)
        return self._ended(beam)

    def _stayed(self, beam: _Beam[PlaceT], frame: Floats) -> _Beam[PlaceT]:
        """After a frame in which nothing new can be said."""
        last, chances = beam.last, beam.chances()
        # A delimiter after a delimiter is none, whatever is between them.
        again = np.where(last == self._delimiter, chances, beam.voiced) + frame[last]
        return _Beam(beam.prefixes, chances + frame[self._blank], again, beam.added)

    def _grown(self, beam: _Beam[PlaceT], frame: Floats, tokens: Ints) -> _Beam[PlaceT]:
        last, chances = beam.last, beam.chances()
        stayed = self._stayed(beam, frame)
        # The same token again is one more only after a blank; a delimiter never is.
        repeated = np.where(last == self._delimiter, -np.inf, beam.paused)
        grown = np.where(last[:, None] == tokens, repeated[:, None], chances[:, None]) + frame[tokens]
        self._join(stayed, grown, last, tokens)
        added = beam.added[:, None] + np.stack([prefix.gains for prefix in beam.prefixes])[:, tokens]
        scores = np.concatenate([stayed.chances() + stayed.added, (grown + added).ravel()])
        kept = self._best(scores)
        stay, grow = kept[kept < len(last)], kept[kept >= len(last)] - len(last)
        rows, columns = np.divmod(grow, len(tokens))
        new = [
            self._child(beam.prefixes[row], token) for row, token in zip(rows, tokens[columns].tolist(), strict=True)
        ]
        return _Beam(
            [stayed.prefixes[row] for row in stay] + new,
            np.concatenate([stayed.paused[stay], np.full(len(new), -np.inf)]),
            np.concatenate([stayed.voiced[stay], grown[rows, columns]]),
            np.concatenate([stayed.added[stay], added[rows, columns]]),
        )

    def _join(self, stayed: _Beam[PlaceT], grown: Floats, last: Ints, tokens: Ints) -> None:
        """Where a prefix grows into another of the beam, its probability goes there; in place."""
        numbers = np.array([prefix.number for prefix in stayed.prefixes])
        parents = np.array([-1 if prefix.parent is None else prefix.parent.number for prefix in stayed.prefixes])
        rows, children = np.nonzero(numbers[:, None] == parents)
        columns = np.searchsorted(tokens, last[children]).clip(max=len(tokens) - 1)
        there = tokens[columns] == last[children]
        rows, children, columns = rows[there], children[there], columns[there]
        stayed.voiced[children] = np.logaddexp(stayed.voiced[children], grown[rows, columns])
        grown[rows, columns] = -np.inf

    def _best(self, scores: Floats) -> Ints:
        """Places of the best scores, in no order."""
        if len(scores) > self._width.beam:
            places = np.argpartition(-scores, self._width.beam - 1)[: self._width.beam]
        else:
            places = np.arange(len(scores))
        least = max(float(scores.max()) - self._width.margin, float(np.finfo(np.float64).min))
        return np.asarray(places[scores[places] >= least])

    def _child(self, parent: _Prefix[PlaceT], token: int) -> _Prefix[PlaceT]:
        child = parent.children.get(token)
        if child is None:
            place = self._scorer.after(parent.place, token)
            child = _Prefix(parent, token, self._count, place, self._scorer.gains(place))
            parent.children[token] = child
            self._count += 1
        return child

    def _ended(self, beam: _Beam[PlaceT]) -> list[Text]:
        found: dict[Labels, Text] = {}
        for prefix, chance, added in zip(beam.prefixes, beam.chances().tolist(), beam.added.tolist(), strict=True):
            labels = tuple(prefix.tokens())
            if labels and prefix.token == self._delimiter:
                labels = labels[:-1]
            # The same text may be there with and without a delimiter at its end.
            other = found[labels].chance if labels in found else -np.inf
            summed = float(np.logaddexp(chance, other))
            found[labels] = Text(labels, summed, summed + added + self._scorer.end(prefix.place))
        return sorted(found.values(), key=lambda text: -text.score)
