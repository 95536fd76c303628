"""Frames -> mono samples at another rate, with the limits that count while decoding.

Channels are averaged. Values past full scale are clipped, before they are mixed and again after resampling, whose
filter may overshoot. NaN and infinities are refused: no recording has any, so whatever wrote them is broken, and zeros
in their place would be a silence nobody recorded.
"""

from functools import reduce

import numpy as np
import soxr

from services.core.audio.records import AudioLimits, Frames, Samples, refused


class Converter:
    """One source's frames, fed in order; keeps what the resampling filter still needs.

    Args:
        source_rate: of the frames, in Hz.
        rate: of the samples, in Hz.
        limits: on decoded seconds.
    """

    def __init__(self, source_rate: int, rate: int, limits: AudioLimits) -> None:
        self._rate = source_rate
        self._limits = limits
        self._taken = 0
        self._resampler = soxr.ResampleStream(source_rate, rate, 1) if rate != source_rate else None

    @property
    def seconds(self) -> float:
        """Of what was fed."""
        return self._taken / self._rate

    def feed(self, frames: Frames) -> Samples:
        """Samples that are ready; the filter holds some milliseconds back.

        Raises:
            ServingError: TOO_LARGE past the limit; INVALID_ARGUMENT for values that are not finite.
        """
        self._limits.check_seconds((self._taken + len(frames)) / self._rate)
        self._check_finite(frames)
        self._taken += len(frames)
        return self._resampled(_mixed(np.clip(frames, -1, 1)), last=False)

    def flush(self) -> Samples:
        """What the filter held back; nothing may be fed after it."""
        return self._resampled(np.empty(0, np.float32), last=True)

    def _check_finite(self, frames: Frames) -> None:
        finite = np.isfinite(frames)
        if not finite.all():
            at = (self._taken + int(finite.all(axis=1).argmin())) / self._rate
            raise refused(f"The audio has values that are no numbers (NaN or infinite) at {at:.2f} s; record it again.")

    def _resampled(self, mono: Samples, *, last: bool) -> Samples:
        if self._resampler is None:
            return mono
        samples: Samples = self._resampler.resample_chunk(mono, last=last)
        return np.clip(samples, -1, 1)


def _mixed(frames: Frames) -> Samples:
    """The average, column by column: numpy's own along short rows takes ten times as long."""
    total: Samples = reduce(np.add, frames.T)
    return total / np.float32(frames.shape[1])
