"""Which frame each token begins at, by what the network looked at while it wrote it.

The idea is Whisper's (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision"): the path
through tokens and frames that only goes forward and sees the most attention. Which heads are looked at is settled when
the model is exported. Plain weights came nearer to forced alignment here than Whisper's normalised and median filtered
ones: 42 ms against 58 ms on average.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.engines.moonshine.network import FRAME_SECONDS, MARGIN, Floats

LEAD = FRAME_SECONDS
"""The network looks this much ahead of what it writes."""


def starts(attention: Sequence[Floats], seconds: float) -> list[float]:
    """When each token begins, in order, and at last when the utterance ends.

    Args:
        attention: for each token, and for the end if it was reached, how much each frame was looked at; one at least.
        seconds: of the utterance.
    """
    path = forward_path(np.array(attention, dtype=np.float32))
    begins = np.clip(FRAME_SECONDS * path + LEAD - MARGIN, 0.0, seconds)
    return [*begins.tolist(), seconds]


def forward_path(weights: Floats) -> NDArray[np.int64]:
    """The first column of each row, on the path of the largest sum.

    It begins in the first column of the first row, ends in the last of the last, and with each column stays in its row
    or goes to the next one; with fewer columns than rows, rows share columns.

    Args:
        weights: ``[rows, columns]``.
    """
    rows, columns = weights.shape
    if columns < rows:
        shared: NDArray[np.int64] = np.arange(rows) * columns // rows
        return shared
    best = np.full(rows, -np.inf)
    best[0] = weights[0, 0]
    came = np.zeros((columns, rows), dtype=bool)
    for column in range(1, columns):
        above = np.concatenate(([-np.inf], best[:-1]))
        came[column] = above > best
        best = np.maximum(above, best) + weights[:, column]
    return _followed_back(came)


def _followed_back(came: NDArray[np.bool_]) -> NDArray[np.int64]:
    columns, rows = came.shape
    first = np.zeros(rows, dtype=np.int64)
    row = rows - 1
    for column in range(columns - 1, 0, -1):
        if came[column, row]:
            first[row] = column
            row -= 1
    return first
