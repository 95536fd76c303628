"""When the tokens of a text were said: its most probable path through the frames (Viterbi forced alignment).

The states of a text of n tokens are 2 n + 1: a blank before, between and after its tokens. A path goes on by one
state, or stays, or leaves out a blank between two different tokens. What stands beside a delimiter, or at an end, may
also be a delimiter that parts nothing.
"""

from dataclasses import dataclass

import numpy as np

from services.engines.ctc.posteriors import Floats, Ints
from services.engines.ctc.vocabulary import Labels


@dataclass(frozen=True, slots=True)
class Said:
    """A token in time.

    Args:
        first: frame.
        last: frame, not before the first.
        chance: natural logarithm of its probability in the frame where that is highest.
    """

    first: int
    last: int
    chance: float


def align(chances: Floats, labels: Labels, blank: int, delimiter: int | None) -> list[Said]:
    """Each label in time.

    Args:
        chances: log probabilities, ``[frames, tokens]``.
        labels: of a text that these frames can say.
        blank: its id.
        delimiter: id of the token between words, if there is one.
    """
    if not labels:
        return []
    states = _states(chances, labels, blank, delimiter)
    path = _path(states, np.array(labels))
    return [_said(states, path, 2 * number + 1) for number in range(len(labels))]


def _states(chances: Floats, labels: Labels, blank: int, delimiter: int | None) -> Floats:
    """Log probabilities, ``[frames, states]``."""
    tokens = np.full(2 * len(labels) + 1, blank)
    tokens[1::2] = labels
    states = chances[:, tokens]
    if delimiter is not None:
        beside = np.concatenate([[True], np.array(labels) == delimiter, [True]])
        loose = 2 * np.flatnonzero(beside[:-1] | beside[1:])
        states[:, loose] = np.maximum(states[:, loose], chances[:, delimiter, None])
    return states


def _path(states: Floats, labels: Ints) -> Ints:
    """State of each frame."""
    count = states.shape[1]
    leaps = np.full(count, -np.inf)  # past a blank, to a token that is not the one before it
    leaps[3::2] = np.where(labels[1:] != labels[:-1], 0.0, -np.inf)
    scores = np.full(count, -np.inf)
    scores[:2] = states[0, :2]
    moves = np.zeros((len(states), count), dtype=np.int8)
    ways = np.full((3, count), -np.inf)
    columns = np.arange(count)
    for frame in range(1, len(states)):
        ways[0] = scores
        ways[1, 1:] = scores[:-1]
        ways[2, 2:] = scores[:-2] + leaps[2:]
        moves[frame] = ways.argmax(axis=0)
        scores = ways[moves[frame], columns] + states[frame]
    state = count - 1 if scores[-1] >= scores[-2] else count - 2
    path = np.empty(len(states), dtype=np.int64)
    for frame in range(len(states) - 1, -1, -1):
        path[frame] = state
        state -= int(moves[frame, state])
    return path


def _said(states: Floats, path: Ints, state: int) -> Said:
    frames = np.flatnonzero(path == state)
    return Said(int(frames[0]), int(frames[-1]), min(0.0, float(states[frames, state].max())))
