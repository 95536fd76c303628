"""wav, flac, ogg (opus, vorbis) and mp3, by libsndfile."""

from collections.abc import Generator
from typing import BinaryIO

import soundfile

from services.core.audio.header import Container, tells_length
from services.core.audio.records import AudioLimits, Frames, Opened, refused
from services.core.audio.view import View
from services.core.errors import ServingError

_FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"}
"""What libsndfile may find: it reads more, which nobody tests, and skips tags that may stand before any of them."""

_STRETCH = 64
"""libsndfile ends an mp3 where size and first frame's bit rate put the end. Rates differ by less than this."""

_UNKNOWN = 1 << 62
"""Frames libsndfile tells from here on are none it knows of."""

_LOST = 0.1
"""Seconds that may be missing from what the header promises."""


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # untyped
    """Read once, from start to end: soundfile else seeks after each read, which decodes flac twice and upsets mp3."""

    def seekable(self) -> bool:
        return False


def open_file(source: BinaryIO, container: Container, limits: AudioLimits, seconds: float) -> Opened:
    """Read the header.

    Args:
        source: the file.
        container: what it is by its first bytes.
        limits: on rate and channels.
        seconds: frames are read for so long a time at once.

    Raises:
        ServingError: INVALID_ARGUMENT, here or from the frames.
    """
    measured = container is not Container.MP3 or tells_length(source)
    try:
        file = _Forward(View(source, 1 if measured else _STRETCH))
    except soundfile.SoundFileError as error:
        raise refused(
            f"This {container} file is damaged, cut short or oddly encoded; send it again whole, or as plain wav."
        ) from error
    if file.format not in _FORMATS:
        raise refused(f"This {container} file holds another kind of file; send that as wav, flac, ogg or mp3.")
    limits.check(file.samplerate, file.channels)
    total = file.frames / file.samplerate if measured and file.frames < _UNKNOWN else None
    return Opened(file.samplerate, total, _frames(file, container, seconds, total))


def _frames(
    file: soundfile.SoundFile, container: Container, seconds: float, total: float | None
) -> Generator[Frames, None, None]:
    done, size = 0, max(1, int(seconds * file.samplerate))
    with file:
        while len(frames := _read(file, size, container, done)):
            done += len(frames)
            yield frames
        if total is not None and done < (total - _LOST) * file.samplerate:
            raise _broken(container, done / file.samplerate)


def _read(file: soundfile.SoundFile, size: int, container: Container, done: int) -> Frames:
    try:
        frames: Frames = file.read(size, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise _broken(container, done / file.samplerate) from error
    return frames


def _broken(container: Container, seconds: float) -> ServingError:
    return refused(f"This {container} file is damaged or cut short after {seconds:.1f} s; send it again whole.")
