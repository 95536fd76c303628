"""Whole files: every format, rate and number of channels comes out as the same mono samples."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from services.core.audio import AudioLimits, Encoding, Pcm, decode
from tests.core.audio.sounds import encoded, loudness, noise, pitch, tone

WAVS = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"]
FORMATS = [("WAV", subtype) for subtype in WAVS]
FORMATS += [("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")]
FORMATS += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_are_known_by_their_header(kind: str, subtype: str, channels: int) -> None:
    samples = decode(encoded(tone(1.0, 48_000, channels), 48_000, kind, subtype))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16_000, abs=600)  # coders pad to whole packets
    assert pitch(samples) == pytest.approx(440, abs=2)
    assert loudness(samples) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("source_rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_rates(source_rate: int, rate: int) -> None:
    samples = decode(encoded(tone(0.5, source_rate), source_rate), rate)
    assert len(samples) == pytest.approx(rate / 2, abs=1)
    assert pitch(samples, rate) == pytest.approx(440, abs=2)
    assert loudness(samples) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_channels_are_averaged() -> None:
    frames = np.zeros((1600, 6), np.float32)
    frames[:, 2] = 0.6
    np.testing.assert_allclose(decode(encoded(frames, subtype="FLOAT")), 0.1, atol=1e-6)


@pytest.mark.parametrize("source_rate", [8_000, 16_000, 96_000])
def test_ten_milliseconds(source_rate: int) -> None:
    assert len(decode(encoded(tone(0.01, source_rate), source_rate))) == pytest.approx(160, abs=1)


@pytest.mark.parametrize("source_rate", [16_000, 44_100])
@pytest.mark.parametrize("level", [1.0, 5.0, 3e38])
def test_samples_stay_within_full_scale(source_rate: int, level: float) -> None:
    frames = np.sign(tone(0.5, source_rate, 2)) * np.float32(level)
    samples = decode(encoded(frames, source_rate, subtype="FLOAT"))
    assert 0.9 < np.abs(samples).max() <= 1


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_and_open_files(wrap: Any) -> None:
    data = encoded(tone(0.1))
    np.testing.assert_array_equal(decode(wrap(data)), decode(data))


def test_an_open_file_stays_open_and_may_be_read_from_any_place() -> None:
    file = io.BytesIO(encoded(tone(0.1)))
    file.seek(30)
    assert len(decode(file)) == 1600
    assert not file.closed


def test_big_endian_wav() -> None:
    data = encoded(noise(500), endian="BIG")
    assert data.startswith(b"RIFX")
    np.testing.assert_array_equal(decode(data), decode(encoded(noise(500))))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_written_to_a_pipe_does_not_know_its_size(size: int) -> None:
    data = bytearray(encoded(noise(500)))
    data[40:44] = size.to_bytes(4, "little")
    assert len(decode(data)) == 500


@pytest.mark.parametrize("quiet_first", [True, False])
@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014)], ids=["bare", "id3"])
def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(quiet_first: bool, tag: bytes) -> None:
    loud, quiet = noise(80_000), np.zeros((80_000, 1), np.float32)
    frames = np.concatenate([quiet, loud] if quiet_first else [loud, quiet])
    data = encoded(frames, kind="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.5)
    assert len(decode(tag + data)) == 160_000
    second = data.find(data[:2], 2)  # the first frame is the one that tells
    assert b"Xing" in data[:second]
    assert len(decode(tag + data[second:])) == pytest.approx(160_000, abs=2_000)


def test_a_wrong_declared_rate_is_not_noticed() -> None:
    data = (tone(1.0, 8_000)[:, 0] * 32767).astype("<i2").tobytes()
    samples = decode(data, raw=Pcm(Encoding.S16LE, 16_000))
    assert len(samples) == 8_000
    assert pitch(samples) == pytest.approx(880, abs=4)


@given(count=st.integers(1, 3_000), channels=st.integers(1, 8), kind=st.sampled_from(["WAV", "FLAC"]))
def test_lossless_files_give_back_what_was_written(count: int, channels: int, kind: str) -> None:
    frames = np.round(noise(count, channels) * 32768) / np.float32(32768)
    samples = decode(encoded(frames.astype(np.float32), kind=kind), limits=AudioLimits(max_channels=8))
    np.testing.assert_allclose(samples, frames.mean(axis=1), atol=1e-6)


@given(
    count=st.integers(6, 3_000),  # fewer may be no sample at all at another rate
    channels=st.integers(1, 6),
    source_rate=st.sampled_from([8_000, 16_000, 22_050, 48_000]),
    encoding=st.sampled_from(Encoding),
)
def test_raw_pcm_is_what_a_wav_of_it_is(count: int, channels: int, source_rate: int, encoding: Encoding) -> None:
    file = io.BytesIO()
    subtype = {Encoding.S16LE: "PCM_16", Encoding.F32LE: "FLOAT"}[encoding]
    soundfile.write(file, noise(count, channels), source_rate, subtype, "LITTLE", "RAW")
    wav = encoded(noise(count, channels), source_rate, subtype=subtype)
    raw = decode(file.getvalue(), raw=Pcm(encoding, source_rate, channels))
    np.testing.assert_allclose(raw, decode(wav), atol=1e-6)
