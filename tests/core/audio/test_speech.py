"""Real recordings, where the data sets are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from services.core.audio import blocks, decode
from tests.core.audio.sounds import encoded, loudness
from tests.recordings import recordings


def clips() -> list[Path]:
    folders = sorted(folder for folder in recordings().iterdir() if folder.is_dir())
    return [recordings("jfk.flac"), *(sorted(folder.rglob("*.flac"))[0] for folder in folders)]


def test_clips_keep_their_length_and_are_heard() -> None:
    for clip in clips():
        samples = decode(clip.read_bytes())
        assert len(samples) / 16_000 == pytest.approx(soundfile.info(clip).duration, abs=1e-3), clip
        assert 0.005 < loudness(samples) < 0.5, clip


def test_blocks_of_clips_are_the_whole() -> None:
    for clip in clips():
        with clip.open("rb") as file:
            found = np.concatenate([block.samples for block in blocks(file, seconds=0.5)])
        np.testing.assert_allclose(found, decode(clip.read_bytes()), atol=1e-5)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_keep_speech(kind: str, subtype: str) -> None:
    speech = decode(clips()[0].read_bytes())
    again = decode(encoded(speech[:, None], kind=kind, subtype=subtype))[: len(speech)]
    assert len(again) == pytest.approx(len(speech), abs=1_600)
    assert np.corrcoef(speech[: len(again)], again)[0, 1] > 0.9
