"""Beam search over the hypotheses of one utterance. Knows no audio and no text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.engines.moonshine.network import Choices, Floats, Network, Tensors
from services.engines.moonshine.repeats import looping

START, END = 1, 2


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A target, or the beginning of one.

    Args:
        tokens: ids, without start and end.
        log_probs: of each, and of the end if it ended.
        attention: how much each frame was looked at before each of them, the end included, was chosen.
        looped: whether it was cut because it went round in a circle.
    """

    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    attention: tuple[Floats, ...] = ()
    looped: bool = False

    @property
    def score(self) -> float:
        """Mean log probability; not positive."""
        return min(0.0, float(np.mean(self.log_probs))) if self.log_probs else 0.0

    @property
    def total(self) -> float:
        """Log probability of all of it."""
        return sum(self.log_probs)

    def followed_by(self, token: int, log_prob: float, attention: Floats) -> "Hypothesis":
        """With one more choice; the end is one, but no token."""
        tokens = self.tokens if token == END else (*self.tokens, token)
        return Hypothesis(tokens, (*self.log_probs, log_prob), (*self.attention, attention))

    def cut(self, count: int) -> "Hypothesis":
        """Without its last ``count`` tokens, which repeat what is before them."""
        kept = len(self.tokens) - count
        return Hypothesis(self.tokens[:kept], self.log_probs[:kept], self.attention[: kept + 1], looped=True)


def search(network: Network, heard: Tensors, limit: int, beam: int) -> Hypothesis:
    """The best target; by mean log probability, as long ones are less probable than short ones.

    What ends takes a place of the beam for good. What goes round in a circle ends too, but is taken only if nothing
    else is there: a network that repeats itself is very sure of it.

    Args:
        network: takes the steps.
        heard: of its `encode`.
        limit: most tokens; what is longer is cut.
        beam: hypotheses kept at each step; 1 is greedy.
    """
    live, past = [Hypothesis()], network.beginning(heard)
    done: list[Hypothesis] = []
    for _ in range(limit):
        choices = network.step(heard, past, [one.tokens[-1] if one.tokens else START for one in live])
        rows, live = _advanced(live, choices, beam - len(done), done)
        if not live:
            break
        past = choices.keep(rows)
    return max(done or live, key=lambda one: (not one.looped, one.score))


def _advanced(
    live: Sequence[Hypothesis], choices: Choices, places: int, done: list[Hypothesis]
) -> tuple[list[int], list[Hypothesis]]:
    """Notes in ``done`` what ends here; returns what goes on, and the rows that it comes from."""
    totals = np.array([[one.total] for one in live]) + choices.log_probs
    rows: list[int] = []
    going_on: list[Hypothesis] = []
    for best in np.argsort(-totals, axis=None, kind="stable")[:places].tolist():
        row, place = divmod(best, totals.shape[1])
        token, log_prob = int(choices.tokens[row, place]), float(choices.log_probs[row, place])
        longer = live[row].followed_by(token, log_prob, choices.attention[row])
        if token == END:
            done.append(longer)
        elif repeated := looping(longer.tokens):
            done.append(longer.cut(repeated))
        else:
            rows.append(row)
            going_on.append(longer)
    return rows, going_on
