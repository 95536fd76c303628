"""Greedy and beam search over any decoder that can take a step. Numpy only; knows no model and no text.

    search -> Decoder.step(tokens) -> log probabilities -> the best continuations of each item -> Decoder.keep(rows)

Every item is searched as if it were alone: what it is given depends on its own rows only, and when it is done its rows
leave the batch, so short items do not pay for long ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.core.engine import Decoding, Hypothesis

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Decoder(Protocol):
    """Rows of growing targets, all of one length; it remembers what it was given."""

    def step(self, tokens: Ints) -> tuple[Floats, Floats | None]:
        """Give each row its next token.

        Args:
            tokens: int64 ``[rows]``.

        Returns:
            Natural log probabilities of the token after it, float32 ``[rows, vocabulary]``, and the weights of what
            was attended to, float32 ``[rows, source]``, if it tells.
        """

    def keep(self, rows: Ints) -> None:
        """From now on have these rows, in this order; a row may come several times, or be gone."""


def ranked(hypotheses: Iterable[Hypothesis]) -> tuple[Hypothesis, ...]:
    """Best first; of hypotheses that cutting made the same, the one that ended by itself, or the best, is kept."""
    worst_first = sorted(hypotheses, key=lambda one: (one.finished, one.score))
    return tuple(sorted({one.tokens: one for one in worst_first}.values(), key=lambda one: -one.score))


def search(
    decoder: Decoder, openings: Ints, limits: Sequence[int], end: int, decoding: Decoding
) -> list[tuple[Hypothesis, ...]]:
    """The best targets of each item, best first.

    At each step an item keeps as many continuations as its beam has places; what ends takes a place for good, and when
    all are taken, or its limit is reached, the item is done. A beam of one place is greedy search.

    Args:
        decoder: has one row per item.
        openings: what each item's decoder is given before it chooses, ``[items, tokens]``, one token at least.
        limits: most tokens of each item; what is longer is cut there.
        end: token that ends a target.
        decoding: beams, hypotheses, and whether to note what was attended to.
    """
    for column in openings.T:
        chances, seen = decoder.step(column)
    done: list[list[Hypothesis]] = [[] for _ in limits]
    live = _Live.first(len(limits))
    while True:
        _forbid_repeats(chances, live.tokens, decoding.no_repeat_ngram)
        live = live.attending(seen if decoding.attention else None)
        parents, tokens, totals = _choose(live, chances, limits, end, decoding.beam_size, done)
        if not len(parents):
            return [ranked(found)[: decoding.hypotheses] for found in done]
        decoder.keep(parents)
        live = live.grown(parents, tokens, totals)
        chances, seen = decoder.step(tokens)


@dataclass(frozen=True)
class _Live:
    """Targets under way, a row each; rows of one item follow each other."""

    item: Ints
    tokens: Ints
    """``[rows, tokens so far]``."""
    total: Floats
    """Sum of their log probabilities."""
    seen: Floats | None = None
    """``[rows, steps, source]``: what each step attended to, that of the token to come included."""

    @classmethod
    def first(cls, items: int) -> "_Live":
        return cls(np.arange(items), np.zeros((items, 0), np.int64), np.zeros(items, np.float32))

    def attending(self, weights: Floats | None) -> "_Live":
        """With one more step's weights."""
        if weights is None:
            return self
        row = weights[:, None]
        return replace(self, seen=row if self.seen is None else np.concatenate([self.seen, row], axis=1))

    def grown(self, parents: Ints, tokens: Ints, totals: Floats) -> "_Live":
        """Each a parent and one token more."""
        longer = np.concatenate([self.tokens[parents], tokens[:, None]], axis=1)
        return _Live(self.item[parents], longer, totals, None if self.seen is None else self.seen[parents])

    def hypothesis(self, row: int, ending: float | None) -> Hypothesis:
        """A row as it is, or ended, with the log probability of its end."""
        tokens = self.tokens[row]
        summed, count = float(self.total[row]) + (ending or 0.0), len(tokens) + (ending is not None)
        seen = None if self.seen is None else self.seen[row, : len(tokens)].astype(np.float32)
        return Hypothesis(tuple(tokens.tolist()), min(0.0, summed / max(1, count)), ending is not None, seen)


def _choose(
    live: _Live, chances: Floats, limits: Sequence[int], end: int, places: int, done: list[list[Hypothesis]]
) -> tuple[Ints, Ints, Floats]:
    """Notes in ``done`` what ends here; returns parents, tokens and sums of what goes on."""
    best = _best(chances, places)
    totals = live.total[:, None] + np.take_along_axis(chances, best, axis=1)
    chosen: list[tuple[int, int]] = []
    for item in dict.fromkeys(live.item.tolist()):
        rows = np.flatnonzero(live.item == item)
        if live.tokens.shape[1] == limits[item]:
            # No token more: each row ends if that is what it would do next, and is cut if not.
            ends = chances[rows].argmax(axis=1) == end
            done[item] += [
                live.hypothesis(row, float(chances[row, end]) if ended else None)
                for row, ended in zip(rows.tolist(), ends, strict=True)
            ]
            continue
        order = np.argsort(-totals[rows], axis=None, kind="stable")[: places - len(done[item])]
        for row, place in zip(rows[order // best.shape[1]], order % best.shape[1], strict=True):
            if totals[row, place] == -np.inf:
                break  # only what is ruled out is left
            if best[row, place] == end:
                done[item].append(live.hypothesis(row, float(chances[row, end])))
            else:
                chosen.append((row, place))
    parents, columns = np.array(chosen, np.int64).reshape(-1, 2).T
    return parents, best[parents, columns], totals[parents, columns]


def _best(chances: Floats, count: int) -> Ints:
    """The most probable tokens of each row, best first, ``[rows, count]``."""
    count = min(count, chances.shape[1])
    if count == 1:  # far quicker than sorting, and most searches are greedy
        highest: Ints = chances.argmax(axis=1)[:, None]
        return highest
    some = np.argpartition(-chances, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(chances, some, axis=1), axis=1, kind="stable")
    found: Ints = np.take_along_axis(some, order, axis=1)
    return found


def _forbid_repeats(chances: Floats, tokens: Ints, length: int) -> None:
    """Rule out tokens that would repeat a sequence of ``length`` tokens, in place."""
    if not 0 < length <= tokens.shape[1]:
        return
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length, axis=1)
    last = tokens[:, tokens.shape[1] - length + 1 :]
    rows, places = np.nonzero((windows[:, :, :-1] == last[:, None]).all(axis=2))
    chances[rows, windows[rows, places, -1]] = -np.inf
