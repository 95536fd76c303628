"""The last seconds of sound: a stream of samples of which the front is forgotten."""

import numpy as np

from services.core.audio import Samples


class Tape:
    """Samples by their place in the stream."""

    def __init__(self) -> None:
        self._chunks: list[Samples] = []
        self._start = 0
        self._end = 0

    @property
    def end(self) -> int:
        """Samples that came."""
        return self._end

    def add(self, samples: Samples) -> None:
        """Some more."""
        if len(samples):
            self._chunks.append(samples)
            self._end += len(samples)

    def forget(self, before: int) -> None:
        """Nothing before this place will be asked for."""
        while self._chunks and self._start + len(self._chunks[0]) <= before:
            self._start += len(self._chunks.pop(0))

    def copy(self, start: int, end: int) -> Samples:
        """From one place up to another, as far as it came."""
        found, at = [], self._start
        for chunk in self._chunks:
            if at < end and at + len(chunk) > start:
                found.append(chunk[max(0, start - at) : end - at])
            at += len(chunk)
        return np.concatenate(found) if found else np.zeros(0, np.float32)
