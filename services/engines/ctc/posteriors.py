"""Logits -> log probabilities, with one blank for all tokens that write nothing."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.engines.ctc.format import CtcFormat

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Posteriors(NamedTuple):
    """What a network heard in an utterance.

    Args:
        chances: natural log probabilities, float64 ``[frames, tokens]``: silent tokens have none, the blank has theirs.
        path: token of the highest logit of each frame, the blank for silent ones, ``[frames]``.
    """

    chances: Floats
    path: Ints


def posteriors(logits: NDArray[np.float32], settings: CtcFormat) -> Posteriors:
    """Softmax over tokens.

    Args:
        logits: ``[frames, tokens]``; log probabilities will do, the softmax leaves them as they are.
        settings: which tokens are blank and silent.
    """
    exact = logits.astype(np.float64)
    shifted = exact - exact.max(axis=1, keepdims=True)
    chances = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    path = np.asarray(logits.argmax(axis=1), dtype=np.int64)
    if settings.silent:
        mute = [settings.blank, *settings.silent]
        chances[:, settings.blank] = np.logaddexp.reduce(chances[:, mute], axis=1)
        chances[:, list(settings.silent)] = -np.inf
        path[np.isin(path, settings.silent)] = settings.blank
    return Posteriors(chances, path)
