"""m4a and webm: by ffmpeg where there is one, and a word about it where there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from services.core.audio import AudioLimits, blocks, decode
from services.core.errors import Code, ServingError
from tests.core.audio.sounds import encoded, loudness, pitch, tone

FFMPEG = shutil.which("ffmpeg")
M4A = b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100)
WEBM = b"\x1a\x45\xdf\xa3" + bytes(100)

needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg on the PATH")


@pytest.mark.parametrize(("name", "data"), [("m4a", M4A), ("webm", WEBM)])
def test_without_ffmpeg_the_error_says_so(monkeypatch: pytest.MonkeyPatch, name: str, data: bytes) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServingError, match=f"{name} is read by ffmpeg.*none on its PATH; send wav, flac") as caught:
        blocks(data)
    assert caught.value.code == Code.UNSUPPORTED_MEDIA


@needs_ffmpeg
@pytest.mark.parametrize(("name", "data"), [("m4a", M4A), ("webm", WEBM)])
def test_what_ffmpeg_cannot_read(name: str, data: bytes) -> None:
    with pytest.raises(ServingError, match=f"ffmpeg cannot read this {name} file") as caught:
        decode(data)
    assert caught.value.code == Code.INVALID_ARGUMENT


def converted(folder: Path, seconds: float, name: str, coder: str) -> bytes:
    (folder / "in.wav").write_bytes(encoded(tone(seconds, 48_000, 2), 48_000))
    command = [str(FFMPEG), "-v", "error", "-i", "in.wav", "-c:a", coder, name]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / name).read_bytes()


@needs_ffmpeg
@pytest.mark.parametrize(("name", "coder"), [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_with_ffmpeg(tmp_path: Path, name: str, coder: str) -> None:
    samples = decode(converted(tmp_path, 2.0, name, coder))
    assert len(samples) == pytest.approx(32_000, abs=1_000)
    assert pitch(samples) == pytest.approx(440, abs=2)
    assert loudness(samples) == pytest.approx(0.35, rel=0.1)


@needs_ffmpeg
def test_ffmpeg_is_stopped_at_the_limit_and_when_nobody_reads(tmp_path: Path) -> None:
    data = converted(tmp_path, 60.0, "a.m4a", "aac")
    with pytest.raises(ServingError, match="longer than 5 s"):
        decode(data, limits=AudioLimits(max_seconds=5))
    reading = blocks(data, seconds=1.0)
    next(reading)
    reading.close()
