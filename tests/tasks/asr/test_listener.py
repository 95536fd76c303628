"""Real speech through the real detector."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.audio import SPEECH_RATE, Samples, decode
from services.tasks.asr.voice import Endpointing, Listener, Stretch
from services.tasks.asr.voice.detector import FRAME, Probabilities
from tests.recordings import recordings
from tests.tasks.asr.recognizing import DETECTOR, SPEECH, speech

LONG = speech(3)


def listened(samples: Samples, sizes: list[int], rule: Endpointing | None = None) -> list[Stretch]:
    listener, found, at = Listener(DETECTOR, rule or Endpointing()), [], 0
    for size in [*sizes, len(samples)]:
        found += listener.feed(samples[at : at + size])
        at += size
    return [*found, *listener.flush()]


def test_speech_is_found_and_silence_is_not() -> None:
    found = listened(LONG, [])
    assert len(found) == 3
    for number, stretch in enumerate(found):
        begins = 1 + number * (len(SPEECH) / SPEECH_RATE + 1)
        assert begins - 0.35 < stretch.start < begins + 0.4
        assert np.array_equal(stretch.samples, LONG[round(stretch.start * SPEECH_RATE) :][: len(stretch.samples)])


def test_a_quiet_word_at_the_very_beginning_is_found() -> None:
    words = [decode(file.read_bytes()) for file in sorted(recordings("fsdd").glob("*_theo_*.flac"))[::5]]
    missed = [number for number, samples in enumerate(words) if not listened(samples, [])]
    assert len(words) == 100
    assert missed == []


def test_a_stream_begins_as_after_silence() -> None:
    def after(silence: int) -> Probabilities:
        stream = DETECTOR.stream()
        stream.feed(np.zeros(silence * FRAME, np.float32))
        return stream.feed(SPEECH)

    assert np.abs(after(0) - after(6)).mean() < 0.01


@settings(max_examples=15)
@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_any_cutting_gives_the_same(sizes: list[int]) -> None:
    whole, cut = listened(LONG, []), listened(LONG, sizes)
    assert whole == cut
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(whole, cut, strict=True))


@pytest.mark.parametrize("longest", [1.0, 2.0])
def test_long_speech_is_cut_without_a_gap(longest: float) -> None:
    found = listened(SPEECH, [], Endpointing(longest=longest, silence=0.2))
    assert len(found) > 1
    assert all(stretch.end - stretch.start <= longest for stretch in found)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0),
        np.zeros(1),
        np.zeros(60 * SPEECH_RATE),
        np.random.default_rng(1).normal(0, 0.05, 10 * SPEECH_RATE),
        np.sign(np.sin(np.arange(5 * SPEECH_RATE) / 20)),
    ],
    ids=["nothing", "a sample", "silence", "noise", "a clipped tone"],
)
def test_nobody_speaks(sound: Samples) -> None:
    assert listened(sound.astype(np.float32), []) == []


def test_memory_does_not_grow_with_silence() -> None:
    listener = Listener(DETECTOR, Endpointing())
    for _ in range(50):
        listener.feed(np.zeros(10 * SPEECH_RATE, np.float32))
    assert listener.heard == pytest.approx(500)
    assert sum(map(len, listener._tape._chunks)) <= 10 * SPEECH_RATE + 10_000
