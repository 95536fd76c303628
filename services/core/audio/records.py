"""What audio is while it is decoded: samples, limits, blocks, and raw PCM as a caller declares it."""

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.core.errors import Code, ServingError

SPEECH_RATE = 16_000
"""Hz; what recognisers are trained on."""

Source = bytes | bytearray | memoryview | BinaryIO
"""A whole file: its bytes, or something open that can seek."""

Samples = NDArray[np.float32]
"""Mono, in [-1, 1]."""

Frames = NDArray[np.float32]
"""One row per moment, one column per channel."""


class Encoding(StrEnum):
    """How raw PCM writes a sample, little-endian; channels alternate."""

    S16LE = "s16le"
    F32LE = "f32le"


@dataclass(frozen=True, slots=True)
class Pcm:
    """Raw PCM as its sender declares it. A wrong rate cannot be noticed: speech is then too fast or too slow."""

    encoding: Encoding
    rate: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What is decoded at most.

    Args:
        max_seconds: counted while decoding, whatever the header says.
        max_channels: of the source.
        min_rate: of the source, in Hz.
        max_rate: of the source, in Hz.
    """

    max_seconds: float = 4 * 3600.0
    max_channels: int = 8
    min_rate: int = 4_000
    max_rate: int = 192_000

    def check(self, rate: int, channels: int) -> None:
        """Refuse a source outside the limits.

        Raises:
            ServingError: INVALID_ARGUMENT.
        """
        if not self.min_rate <= rate <= self.max_rate:
            raise refused(
                f"The audio has {rate} samples a second; resample it to {self.min_rate} to {self.max_rate} Hz."
            )
        if not 1 <= channels <= self.max_channels:
            raise refused(f"The audio has {channels} channels; mix it down to 1 to {self.max_channels}.")

    def check_seconds(self, seconds: float) -> None:
        """Refuse what is too long.

        Raises:
            ServingError: TOO_LARGE.
        """
        if seconds > self.max_seconds:
            raise refused(
                f"The audio is longer than {self.max_seconds:g} s; cut it and send the parts.", Code.TOO_LARGE
            )


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples of a file, with where they are in it.

    Args:
        samples: never empty.
        start: seconds of the file before them.
        end: seconds of the file that are done with them.
        total: seconds of the whole file as its header tells, which may lie; None if it does not tell.
    """

    samples: Samples
    start: float
    end: float
    total: float | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A source whose header was read.

    Args:
        rate: of the frames, in Hz.
        total: seconds, as the header tells.
        frames: its frames in parts; closed, it lets go of whatever it reads from.
    """

    rate: int
    total: float | None
    frames: Generator[Frames, None, None]


def refused(sentence: str, code: Code = Code.INVALID_ARGUMENT) -> ServingError:
    """An error about the audio of a request."""
    return ServingError(code, sentence, "audio")
