"""Samples -> log-mel spectrograms of 30 s windows, as Whisper was trained on them (Radford et al. 2022, section 2.2).

Frames of 25 ms every 10 ms, Slaney's mel filters, decibels of at most 80 below the loudest. Knows no model.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.core.audio import SPEECH_RATE, Samples

Floats = NDArray[np.float32]

WINDOW_SECONDS = 30
FRAME, HOP = 400, 160
FRAMES = WINDOW_SECONDS * SPEECH_RATE // HOP
_HALF = FRAME // 2
_FLOOR = 1e-10
_RANGE = 8.0
"""Of what is kept, in powers of ten."""

_ROWS = 12
"""Frames in a matrix product: small enough for BLAS to stay in the calling thread, as lanes are threads already."""

_LINEAR_HZ, _LINEAR_MELS = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


class LogMel:
    """The spectrogram of a model with so many mel bands."""

    def __init__(self, mels: int) -> None:
        self._filters = np.ascontiguousarray(filters(mels).T)
        self._hann = np.hanning(FRAME + 1)[:-1].astype(np.float32)

    def batch(self, several: Sequence[Samples]) -> Floats:
        """float32 ``[items, mels, 3000]``, of arrays of 1 to 480,000 samples at 16 kHz; silence follows them."""
        found = np.empty((len(several), self._filters.shape[1], FRAMES), np.float32)
        for row, samples in zip(found, several, strict=True):
            power = self._power(samples)
            heard = np.log10(np.maximum(self._bands(power), _FLOOR)).T
            least = max(float(heard.max()) - _RANGE, np.log10(_FLOOR))
            row[:, : len(power)] = np.maximum(heard, least)
            row[:, len(power) :] = least  # frames of nothing but padding
        return (found + 4.0) / 4.0

    def _power(self, samples: Samples) -> Floats:
        """float32 ``[frames, 201]`` of the frames that reach into the samples."""
        frames = min(FRAMES, -(-(len(samples) + _HALF) // HOP))
        padded = np.zeros((frames - 1) * HOP + FRAME, np.float32)
        padded[_HALF : _HALF + len(samples)] = samples[: len(padded) - _HALF]
        padded[:_HALF] = padded[FRAME:_HALF:-1]  # the first frame is centred on the first sample
        if (beyond := len(padded) - _HALF - WINDOW_SECONDS * SPEECH_RATE) > 0:
            padded[-beyond:] = padded[-beyond - 2 : -2 * beyond - 2 : -1]
        windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
        spectrum = np.fft.rfft(windows * self._hann)
        return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)

    def _bands(self, power: Floats) -> Floats:
        """float32 ``[frames, mels]``."""
        filled = np.zeros((-(-len(power) // _ROWS) * _ROWS, power.shape[1]), np.float32)
        filled[: len(power)] = power
        products = np.matmul(filled.reshape(-1, _ROWS, power.shape[1]), self._filters)
        return np.asarray(products.reshape(len(filled), -1)[: len(power)], np.float32)


def filters(mels: int) -> Floats:
    """float32 ``[mels, 201]``: triangles from 0 to 8 kHz, equally wide in mels and of equal area."""
    top = _LINEAR_MELS + np.log(SPEECH_RATE / 2 / _LINEAR_HZ) / _LOG_STEP
    corners = _hertz(np.linspace(0.0, top, mels + 2))
    bins = np.linspace(0.0, SPEECH_RATE / 2, FRAME // 2 + 1)
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (corners[2:] - corners[:-2]))[:, None], np.float32)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    log = _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS))
    return np.where(mels < _LINEAR_MELS, mels * _LINEAR_HZ / _LINEAR_MELS, log)
