"""m4a and webm, by an ffmpeg on the PATH. Chorale brings none: without it they are refused.

ffmpeg is told the container and may open nothing but the one file: what is in it cannot name another.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Generator
from typing import BinaryIO

from services.core.audio.header import Container
from services.core.audio.pcm import Unpacker
from services.core.audio.records import Encoding, Frames, Opened, Pcm, refused
from services.core.errors import Code

_DEMUXERS = {Container.M4A: "mov", Container.WEBM: "matroska"}

CONTAINERS = frozenset(_DEMUXERS)
"""What libsndfile does not read."""


def open_by_ffmpeg(source: BinaryIO, container: Container, rate: int, seconds: float) -> Opened:
    """Frames at a rate, mixed to one channel by ffmpeg.

    Raises:
        ServingError: UNSUPPORTED_MEDIA without ffmpeg; INVALID_ARGUMENT from the frames, if it cannot read the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise refused(
            f"{container} is read by ffmpeg, and this server has none on its PATH; send wav, flac, ogg or mp3.",
            Code.UNSUPPORTED_MEDIA,
        )
    return Opened(rate, None, _frames(program, source, container, Pcm(Encoding.S16LE, rate), seconds))


def _frames(
    program: str, source: BinaryIO, container: Container, pcm: Pcm, seconds: float
) -> Generator[Frames, None, None]:
    unpacker = Unpacker(pcm)
    size = max(1, int(seconds * pcm.rate)) * unpacker.frame_bytes
    with tempfile.NamedTemporaryFile() as file:  # an m4a may keep its index at its end, where a pipe cannot seek
        source.seek(0)
        shutil.copyfileobj(source, file)
        file.flush()
        command = _command(program, file.name, _DEMUXERS[container], pcm.rate)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as run:
            try:
                while run.stdout and (chunk := run.stdout.read(size)):
                    yield unpacker.frames(chunk)
                status = run.wait()
            finally:
                run.kill()  # whoever reads may stop before the end
    if status:
        raise refused(f"ffmpeg cannot read this {container} file; send it again whole, or as wav, flac, ogg or mp3.")


def _command(program: str, file: str, demuxer: str, rate: int) -> list[str]:
    reading = ["-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-f", demuxer, "-i", file]
    # Mixing to integers, ffmpeg keeps within full scale; to floats, two equal channels come out 1.4 times as loud.
    writing = ["-map", "0:a:0", "-f", "s16le", "-ac", "1", "-ar", str(rate), "pipe:1"]
    return [program, *reading, *writing]
