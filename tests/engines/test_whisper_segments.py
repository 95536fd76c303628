"""Whisper's tokens with times among them -> segments."""

from hypothesis import given
from hypothesis import strategies as st

from services.engines.whisper.segments import Stretch, stretches
from services.engines.whisper.settings import WhisperSettings

FIRST = 50_364
SETTINGS = WhisperSettings(
    start=50_258,
    end=50_257,
    previous=50_361,
    no_timestamps=FIRST - 1,
    first_timestamp=FIRST,
    transcribe=50_359,
    translate=50_358,
    languages={"en": 50_259},
    mels=80,
    positions=448,
    compute_type="float32",
)


def at(seconds: float) -> int:
    return FIRST + round(seconds * 50)


def test_times_around_text_are_its_segments() -> None:
    tokens = [at(0), 1, 2, at(1.5), at(2.02), 3, at(4)]
    assert stretches(tokens, SETTINGS, 5.0) == [
        Stretch((at(0), 1, 2, at(1.5)), 0.0, 1.5),
        Stretch((at(2.02), 3, at(4)), 2.02, 4.0),
    ]


def test_text_that_does_not_end_ends_with_the_speech() -> None:
    assert stretches([at(1), 7], SETTINGS, 5.0) == [Stretch((at(1), 7), 1.0, 5.0)]


def test_nothing_ends_after_the_speech() -> None:
    found = stretches([at(1), 7, at(9), at(9), 8, at(30)], SETTINGS, 5.0)
    assert [(one.start, one.end) for one in found] == [(1.0, 5.0), (5.0, 5.0)]


@given(
    tokens=st.lists(st.one_of(st.integers(0, 9), st.integers(FIRST, FIRST + 1500), st.just(50_260)), max_size=30),
    seconds=st.floats(0.01, 30),
)
def test_no_text_is_lost_and_times_are_in_order(tokens: list[int], seconds: float) -> None:
    found = stretches(tokens, SETTINGS, seconds)
    assert [t for one in found for t in one.tokens if t < SETTINGS.end] == [t for t in tokens if t < SETTINGS.end]
    for one in found:
        assert 0 <= one.start <= one.end <= seconds
