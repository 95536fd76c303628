"""Files -> samples, whole or in blocks. These block and take CPU time: on an event loop, call them in a thread."""

from collections.abc import Generator
from contextlib import closing
from io import BytesIO
from typing import BinaryIO, cast

import numpy as np

from services.core.audio.buffer import BufferFile
from services.core.audio.converting import Converter
from services.core.audio.ffmpeg import CONTAINERS, open_by_ffmpeg
from services.core.audio.header import HEAD, container_of
from services.core.audio.pcm import open_pcm
from services.core.audio.records import (
    DEFAULT_LIMITS,
    SPEECH_RATE,
    AudioLimits,
    Block,
    Frames,
    Opened,
    Pcm,
    Samples,
    Source,
    refused,
)
from services.core.audio.sndfile import open_file
from services.core.errors import Code

_SECONDS = 10.0
"""Of a block: 30 MB of the largest sources while it is decoded."""


def decode(
    source: Source, rate: int = SPEECH_RATE, *, raw: Pcm | None = None, limits: AudioLimits = DEFAULT_LIMITS
) -> Samples:
    """All samples of a file; blocks the thread.

    Args:
        source: wav, flac, ogg (opus, vorbis) or mp3, known by its header; m4a and webm where there is an ffmpeg.
        rate: of the samples, in Hz.
        raw: the source has no header, and is this.
        limits: what is decoded at most.

    Raises:
        ServingError: UNSUPPORTED_MEDIA for another format, TOO_LARGE past the limit of seconds, INVALID_ARGUMENT for
            what is empty, damaged, outside the other limits, or has values that are no numbers.
    """
    return np.concatenate([block.samples for block in blocks(source, rate, raw=raw, limits=limits)])


def blocks(
    source: Source,
    rate: int = SPEECH_RATE,
    *,
    raw: Pcm | None = None,
    limits: AudioLimits = DEFAULT_LIMITS,
    seconds: float = _SECONDS,
) -> Generator[Block, None, None]:
    """The same in blocks, in memory that does not grow with the file; each step blocks the thread.

    Close it, or read it to its end. The header is read, and what it tells refused, at the call; the rest as it comes.

    Args:
        source: as `decode` takes it; an open file stays open, and is this function's own until the end.
        rate: of the samples, in Hz.
        raw: the source has no header, and is this.
        limits: what is decoded at most.
        seconds: of a block, about.
    """
    opened = _opened(_file(source), rate, raw, limits, seconds)
    if opened.total is not None:
        limits.check_seconds(opened.total)
    return _converted(opened, rate, limits)


def _file(source: Source) -> BinaryIO:
    if isinstance(source, memoryview):
        return cast("BinaryIO", BufferFile(source))
    return BytesIO(source) if isinstance(source, bytes | bytearray) else source


def _opened(file: BinaryIO, rate: int, raw: Pcm | None, limits: AudioLimits, seconds: float) -> Opened:
    if raw:
        return open_pcm(file, raw, limits, seconds)
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        raise refused("The audio is empty; send a file with sound in it.")
    container = container_of(head)
    if container is None:
        raise refused(
            "This is no audio of a supported format; send wav, flac, ogg (opus, vorbis) or mp3,"
            " or declare raw PCM (s16le, f32le) with its rate and channels.",
            Code.UNSUPPORTED_MEDIA,
        )
    if container in CONTAINERS:
        return open_by_ffmpeg(file, container, rate, seconds)
    return open_file(file, container, limits, seconds)


def _converted(opened: Opened, rate: int, limits: AudioLimits) -> Generator[Block, None, None]:
    converter, done = Converter(opened.rate, rate, limits), 0
    with closing(opened.frames) as frames:
        for samples in _samples(frames, converter):
            if len(samples):
                start, done = done, done + len(samples)
                yield Block(samples, start / rate, done / rate, opened.total)
    if not done:
        raise refused("The audio holds no samples; send a file with sound in it.")


def _samples(frames: Generator[Frames, None, None], converter: Converter) -> Generator[Samples, None, None]:
    for some in frames:
        yield converter.feed(some)
    yield converter.flush()
