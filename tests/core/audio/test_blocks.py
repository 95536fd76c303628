"""Blocks: the same samples as the whole, in memory that does not grow with the file."""

import io
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from services.core.audio import AudioLimits, Encoding, Pcm, blocks, decode
from services.core.errors import Code, ServingError
from tests.core.audio.sounds import encoded, noise, tone

FORMATS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
HOURS = 2


@pytest.fixture(scope="module")
def silence() -> bytes:
    """Two hours in a flac of less than a megabyte."""
    file, rate = io.BytesIO(), 8_000
    minute = np.zeros(60 * rate, np.int16)
    with soundfile.SoundFile(file, "w", rate, 1, "PCM_16", format="FLAC") as out:
        for _ in range(60 * HOURS):
            out.write(minute)
    assert len(file.getvalue()) < 1_000_000
    return file.getvalue()


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("seconds", [0.01, 0.37, 100.0])
def test_blocks_together_are_the_whole(kind: str, subtype: str, seconds: float) -> None:
    data = encoded(noise(48_000 * 2, 2), 48_000, kind, subtype)
    found = np.concatenate([block.samples for block in blocks(data, seconds=seconds)])
    np.testing.assert_allclose(found, decode(data), atol=1e-5)


@given(
    count=st.integers(50, 20_000),
    channels=st.integers(1, 3),
    source_rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]),
    seconds=st.floats(0.001, 2.0),
)
def test_any_blocks_together_are_the_whole(count: int, channels: int, source_rate: int, seconds: float) -> None:
    data = encoded(noise(count, channels), source_rate)
    found = np.concatenate([block.samples for block in blocks(data, seconds=seconds)])
    np.testing.assert_allclose(found, decode(data), atol=1e-5)


def test_blocks_tell_where_they_are() -> None:
    found = list(blocks(encoded(tone(2.5, 44_100), 44_100), seconds=1.0))
    assert len(found) in {3, 4}  # what the filter held back may come as one of its own
    assert found[0].start == 0
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(block.end - block.start == pytest.approx(len(block.samples) / 16_000) for block in found)
    assert {block.total for block in found} == {2.5}
    assert found[-1].end == pytest.approx(2.5, abs=1e-3)


def test_raw_pcm_in_blocks() -> None:
    data = noise(16_000).astype("<f4").tobytes()
    found = list(blocks(data, raw=Pcm(Encoding.F32LE, 16_000), seconds=0.3))
    assert [len(block.samples) for block in found] == [4_800, 4_800, 4_800, 1_600]
    assert found[0].total == 1.0


def test_two_hours_are_decoded_in_little_memory(silence: bytes) -> None:
    tracemalloc.start()
    try:
        done = [block.end for block in blocks(silence)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done[-1] == pytest.approx(HOURS * 3600)
    assert len(done) >= HOURS * 360
    assert peak < 8_000_000  # as samples: 460 MB


@pytest.mark.parametrize("told", [0, 1 << 35])
def test_a_bomb_is_stopped_by_what_it_decodes_to_whatever_its_header_tells(silence: bytes, told: int) -> None:
    taken: list[float] = []
    bomb = with_total(silence, told)
    with pytest.raises(ServingError, match="longer than 60 s") as caught:
        taken.extend(block.end for block in blocks(bomb, limits=AudioLimits(max_seconds=60)))
    assert caught.value.code == Code.TOO_LARGE
    assert max(taken, default=0) <= 60


def with_total(flac: bytes, frames: int) -> bytes:
    """The same, telling another number of frames: 36 bits, of which 0 is unknown."""
    told = bytearray(flac)
    told[21] = told[21] & 0xF0 | frames >> 32
    told[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(told)


def test_a_total_that_is_not_told_is_none() -> None:
    data = encoded(noise(16_000), kind="FLAC")
    assert {block.total for block in blocks(with_total(data, 0))} == {None}
    assert len(decode(with_total(data, 0))) == 16_000


def test_a_header_that_promises_more_than_there_is() -> None:
    data = encoded(noise(16_000), kind="FLAC")
    with pytest.raises(ServingError, match=r"flac file is damaged or cut short after 1\.0 s"):
        decode(with_total(data, 17_000_000))


@pytest.mark.parametrize(("seconds", "fine"), [(1.0, True), (1.01, False)])
def test_the_limit_itself_is_within_it(seconds: float, fine: bool) -> None:
    data, limits = encoded(tone(seconds, 44_100), 44_100), AudioLimits(max_seconds=1)
    if fine:
        assert len(decode(data, limits=limits)) == 16_000
    else:
        with pytest.raises(ServingError, match="longer than 1 s; cut it"):
            decode(data, limits=limits)


def test_a_reader_may_stop_early(silence: bytes) -> None:
    file = io.BytesIO(silence)
    reading = blocks(file)
    next(reading)
    reading.close()
    assert not file.closed
