"""What may be told in each frame: an example's spans -> tokens. Knows the frames' places, and no network.

Speech is told apart frame by frame, not by CTC, which tells a word in one frame and a blank in all others: what it has
not met before is a blank to it, and a third to a half of its errors were digits left out. In the middle of a word
silence is wrong, towards its ends it is right, too.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from clips import RATE
from config import BLANK, OTHER
from mixing import Span
from numpy.typing import NDArray

from models.export.bundled_ctc.trunk import FIELD, SILENCE, STRIDE

_MIDDLE = {True: 0.5, False: 0.8}
"""Share of a span where silence is wrong: of words, and of other speech."""
_AROUND = RATE // 20
"""Samples beside a span where it may still be heard."""

Allowed = NDArray[np.bool_]


def centres(frames: int) -> NDArray[np.int64]:
    """The sample in the middle of what each frame, made of two states, hears."""
    return np.arange(frames) * 2 * STRIDE + (STRIDE + FIELD) // 2 - SILENCE


def allowed(spans: Sequence[Span], frames: int, tokens: Sequence[str]) -> Allowed:
    """[frames, tokens]: which are right in each."""
    numbers = {token: number for number, token in enumerate(tokens)}
    at, blank = centres(frames), numbers[BLANK]
    found = np.zeros((frames, len(tokens)), np.bool_)
    found[:, blank] = True
    for span in spans:
        found[(at > span.first - _AROUND) & (at < span.end + _AROUND), numbers[span.word or OTHER]] = True
    for span in spans:
        found[_middle(span, at), blank] = False
    for before, after in pairwise(spans):  # without a blank between, a word that is said twice would be one
        found[_nearest(at, (before.end + after.first) // 2)] = np.arange(len(tokens)) == blank
    return found


def _middle(span: Span, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames in which the span is surely being said; one at least."""
    edge = (span.end - span.first) * (1 - _MIDDLE[bool(span.word)]) / 2
    inside = np.flatnonzero((at >= span.first + edge) & (at <= span.end - edge))
    return inside if len(inside) else np.array([_nearest(at, (span.first + span.end) // 2)])


def _nearest(at: NDArray[np.int64], sample: int) -> int:
    return int(np.abs(at - sample).argmin())
