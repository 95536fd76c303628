"""Files that are none, or damaged: one sentence for the caller, and nothing else happens."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.audio import AudioLimits, Encoding, Pcm, PcmStream, blocks, decode
from services.core.errors import Code, ServingError
from tests.core.audio.sounds import NO_SOUND, encoded, noise, tone

SUPPORTED = "send wav, flac, ogg"
KINDS = {
    "wav": encoded(noise(4_000), kind="WAV"),
    "flac": encoded(noise(4_000), kind="FLAC"),
    "vorbis": encoded(noise(4_000), kind="OGG", subtype="VORBIS"),
    "opus": encoded(noise(4_000), kind="OGG", subtype="OPUS"),
    "mp3": encoded(noise(4_000), kind="MP3", subtype="MPEG_LAYER_III"),
}


def refusal(data: bytes, raw: Pcm | None = None, limits: AudioLimits | None = None) -> ServingError:
    with pytest.raises(ServingError) as caught:
        decode(data, raw=raw, limits=limits or AudioLimits())
    assert caught.value.param == "audio"
    assert caught.value.message.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        b"Dear all, this was renamed to speech.wav.",
        b"\xff\xfeD\x00e\x00a\x00r\x00",  # UTF-16
        b"\xff\xf1\x50\x80" + bytes(100),  # AAC without container
        b"FORM\0\0\0\x2eAIFFCOMM" + bytes(50),
        b"RIFF\0\0\0\0AVI LIST" + bytes(50),
        b"PK\x03\x04" + bytes(50),
        b"%PDF-1.7" + bytes(50),
        b"x",
        bytes(10_000),
    ],
)
def test_other_formats_are_refused_and_told_which_are_taken(data: bytes) -> None:
    error = refusal(data)
    assert error.code == Code.UNSUPPORTED_MEDIA
    assert SUPPORTED in error.message


def test_a_format_is_refused_before_any_block_is_asked_for() -> None:
    with pytest.raises(ServingError, match=SUPPORTED):
        blocks(b"no audio at all")


def test_an_empty_file() -> None:
    assert "is empty" in refusal(b"").message


@pytest.mark.parametrize("data", [NO_SOUND, encoded(noise(0), 44_100), encoded(noise(0), 16_000, "WAVEX")])
def test_files_without_samples(data: bytes) -> None:
    assert "holds no samples" in refusal(data).message


@pytest.mark.parametrize("data", [b"", b"\0"])
def test_raw_pcm_without_samples(data: bytes) -> None:
    assert "holds no samples" in refusal(data, Pcm(Encoding.S16LE, 16_000)).message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [12, 20, 40])
def test_headers_only(kind: str, keep: int) -> None:
    assert refusal(KINDS[kind][:keep]).code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("start", [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3\x04\0\0\0\0\0\x0a", b"\xff\xfb"])
@pytest.mark.parametrize("rest", [b"", bytes(500), b"and then only words, " * 50])
def test_a_good_start_and_then_something_else(start: bytes, rest: bytes) -> None:
    assert refusal(start + rest).code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ["flac", "mp3"])
def test_files_that_tell_their_length_and_are_cut_short(kind: str) -> None:
    assert "cut short" in refusal(KINDS[kind][: len(KINDS[kind]) // 2]).message


def test_a_wav_that_is_cut_short_gives_what_there_is() -> None:
    data = KINDS["wav"]
    assert len(decode(data[: len(data) // 2])) == pytest.approx(2_000, abs=30)


def test_a_tag_before_another_format() -> None:
    tag = b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014)
    aiff = encoded(noise(100), kind="AIFF")
    assert refusal(tag + aiff).code == Code.INVALID_ARGUMENT
    assert len(decode(tag + KINDS["flac"])) == 4_000


@pytest.mark.parametrize(
    ("rate", "channels", "sentence"),
    [
        (3_999, 1, "has 3999 samples a second; resample it to 4000 to 192000 Hz"),
        (384_000, 1, "has 384000 samples a second"),
        (16_000, 9, "has 9 channels; mix it down to 1 to 8"),
    ],
)
def test_rates_and_channels_outside_the_limits(rate: int, channels: int, sentence: str) -> None:
    assert sentence in refusal(encoded(noise(100, channels), rate)).message
    assert sentence in refusal(bytes(1_000), Pcm(Encoding.S16LE, rate, channels)).message
    with pytest.raises(ServingError, match=sentence):
        PcmStream(Pcm(Encoding.S16LE, rate, channels))


@pytest.mark.parametrize(
    "field", [(22, b"\0\0"), (22, b"\xff\xff"), (24, bytes(4)), (24, b"\xff" * 4), (34, b"\xff\0")]
)
def test_wav_headers_of_impossible_sounds(field: tuple[int, bytes]) -> None:
    place, value = field
    data = bytearray(KINDS["wav"])
    data[place : place + len(value)] = value
    assert refusal(bytes(data)).code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_values_that_are_no_numbers(value: float, subtype: str) -> None:
    frames = tone(2.0, channels=2)
    frames[24_000, 1] = value
    assert "no numbers (NaN or infinite) at 1.50 s" in refusal(encoded(frames, subtype=subtype)).message


def test_raw_values_that_are_no_numbers() -> None:
    data = np.array([0.0, np.nan], "<f4").tobytes()
    assert "at 0.00 s" in refusal(data, Pcm(Encoding.F32LE, 16_000)).message


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    keep=st.integers(1, 9_000),
)
def test_damage_is_refused_or_survived(
    capfd: pytest.CaptureFixture[str], kind: str, changes: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(KINDS[kind])
    for place, byte in changes:
        data[place] = byte
    try:
        samples = decode(data[:keep], limits=AudioLimits(max_seconds=60))
    except ServingError as error:
        assert error.code in {Code.INVALID_ARGUMENT, Code.UNSUPPORTED_MEDIA, Code.TOO_LARGE}
    else:
        assert 0 < len(samples) <= 60 * 16_000
        assert np.abs(samples).max() <= 1
    assert "Traceback" not in capfd.readouterr().err  # from where C calls Python
