"""Raw PCM -> frames."""

from collections.abc import Generator
from io import SEEK_END
from typing import Any, BinaryIO

import numpy as np

from services.core.audio.records import AudioLimits, Encoding, Frames, Opened, Pcm

_TYPES: dict[Encoding, np.dtype[Any]] = {Encoding.S16LE: np.dtype("<i2"), Encoding.F32LE: np.dtype("<f4")}
_SCALES = {Encoding.S16LE: np.float32(1 / 32768), Encoding.F32LE: np.float32(1)}


class Unpacker:
    """Bytes that are cut anywhere -> whole frames; what is over waits for the next bytes."""

    def __init__(self, pcm: Pcm) -> None:
        self._type = _TYPES[pcm.encoding]
        self._scale = _SCALES[pcm.encoding]
        self._channels = pcm.channels
        self._rest = b""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self._type.itemsize * self._channels

    def frames(self, chunk: bytes) -> Frames:
        """The frames that these bytes complete."""
        data = self._rest + chunk
        whole = len(data) - len(data) % self.frame_bytes
        self._rest = data[whole:]
        values: Frames = np.frombuffer(data[:whole], self._type).astype(np.float32)
        values *= self._scale
        return values.reshape(-1, self._channels)


def open_pcm(source: BinaryIO, pcm: Pcm, limits: AudioLimits, seconds: float) -> Opened:
    """Frames of a file without header. An incomplete frame at its end is left out.

    Raises:
        ServingError: INVALID_ARGUMENT for a declared rate or number of channels outside the limits.
    """
    limits.check(pcm.rate, pcm.channels)
    unpacker = Unpacker(pcm)
    size = source.seek(0, SEEK_END)
    source.seek(0)
    return Opened(pcm.rate, size // unpacker.frame_bytes / pcm.rate, _frames(source, pcm, unpacker, seconds))


def _frames(source: BinaryIO, pcm: Pcm, unpacker: Unpacker, seconds: float) -> Generator[Frames, None, None]:
    size = max(1, int(seconds * pcm.rate)) * unpacker.frame_bytes
    while chunk := source.read(size):
        yield unpacker.frames(chunk)
