"""Live PCM: any cutting of a stream gives the samples of the whole."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.audio import AudioLimits, Encoding, Pcm, PcmStream, decode
from services.core.audio.records import Samples
from services.core.errors import Code, ServingError
from tests.core.audio.sounds import noise

S16 = Pcm(Encoding.S16LE, 16_000)


def raw(count: int, pcm: Pcm) -> bytes:
    frames = noise(count, pcm.channels)
    if pcm.encoding is Encoding.S16LE:
        return (frames * 32767).astype("<i2").tobytes()
    return frames.astype("<f4").tobytes()


def fed(stream: PcmStream, data: bytes, cuts: list[int]) -> Samples:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    parts = [stream.feed(data[start:end]) for start, end in pairwise(places)]
    return np.concatenate([*parts, stream.flush()])


@given(
    pcm=st.builds(
        Pcm,
        encoding=st.sampled_from(Encoding),
        rate=st.integers(4_000, 96_000),
        channels=st.integers(1, 6),
    ),
    count=st.integers(100, 4_000),
    over=st.integers(0, 1),
    cuts=st.lists(st.integers(0, 100_000), max_size=40),
    rate=st.sampled_from([8_000, 16_000, 24_000]),
)
def test_any_chunks_give_the_samples_of_the_whole(pcm: Pcm, count: int, over: int, cuts: list[int], rate: int) -> None:
    data = raw(count, pcm) + bytes(over)
    samples = fed(PcmStream(pcm, rate), data, cuts)
    np.testing.assert_allclose(samples, decode(data, rate, raw=pcm), atol=1e-5)


def test_a_byte_at_a_time() -> None:
    data = raw(100, S16)
    stream = PcmStream(S16)
    parts = [stream.feed(data[place : place + 1]) for place in range(len(data))]
    np.testing.assert_array_equal(np.concatenate(parts), decode(data, raw=S16))
    assert stream.seconds == 100 / 16_000
    assert len(stream.flush()) == 0


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_stream_that_brings_nothing(rate: int) -> None:
    stream = PcmStream(Pcm(Encoding.S16LE, rate))
    assert [len(stream.feed(b"")), len(stream.flush()), stream.seconds] == [0, 0, 0]


def test_half_a_sample_at_the_end_is_left_out() -> None:
    stream = PcmStream(S16)
    assert len(stream.feed(bytes(5))) == 2
    assert len(stream.flush()) == 0


def test_samples_come_soon_and_time_is_kept() -> None:
    stream = PcmStream(Pcm(Encoding.S16LE, 48_000))
    heard = 0
    for number in range(1, 101):
        heard += len(stream.feed(bytes(1_920)))  # 20 ms
        assert stream.seconds == pytest.approx(number * 0.02)
        assert 0 <= stream.seconds - heard / 16_000 < 0.05
    assert heard + len(stream.flush()) == 32_000


def test_a_stream_is_bounded() -> None:
    stream = PcmStream(S16, limits=AudioLimits(max_seconds=1))
    stream.feed(bytes(32_000))
    with pytest.raises(ServingError, match="longer than 1 s") as caught:
        stream.feed(bytes(2))
    assert caught.value.code == Code.TOO_LARGE


def test_values_that_are_no_numbers_are_refused_where_they_are() -> None:
    stream = PcmStream(Pcm(Encoding.F32LE, 16_000))
    stream.feed(bytes(4 * 16_000))
    with pytest.raises(ServingError, match=r"at 1\.00 s"):
        stream.feed(np.array([np.inf], "<f4").tobytes())
