"""The bundled English recogniser on real speech, and on what is none."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import soxr

from services.core.audio import SPEECH_RATE, Samples
from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Recognition, Recognized, Recognizer, Utterance
from services.engines import engine_class
from services.engines.moonshine.recognizer import SECONDS, MoonshineRecognizer
from tests.recordings import recordings

WORDS = Recognition(word_times=True)
READ = "ever tried ever failed no matter try again fail again fail better"

normal = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


def wer(truth: str, found: str) -> float:
    return jiwer.wer(truth, found, reference_transform=normal, hypothesis_transform=normal)


def hear(recognizer: Recognizer, samples: Samples, recognition: Recognition = WORDS) -> Recognized:
    (found,) = recognizer.run([Utterance(samples, recognition)])
    return found


def times(found: Recognized) -> list[float]:
    return list(chain.from_iterable((word.start, word.end) for part in found.segments for word in part.words))


def test_it_is_a_recognizer(recognizer: MoonshineRecognizer) -> None:
    assert isinstance(recognizer, Recognizer)
    assert recognizer.abilities.languages == ("en",)
    recognizer.check(Recognition(language="en", word_times=True))


def test_speech_is_written_with_case_and_punctuation(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    found = hear(recognizer, reading, Recognition())
    assert wer(READ, found.text) == 0
    assert found.text[0] == "E"
    assert found.text[-1] == "."
    (segment,) = found.segments
    assert (segment.start, segment.end) == (0, pytest.approx(len(reading) / SPEECH_RATE))
    assert -0.5 < segment.score <= 0
    assert segment.tokens
    assert not segment.words
    assert found.language == "en"


def test_a_speech_of_kennedy(recognizer: MoonshineRecognizer) -> None:
    samples, rate = soundfile.read(recordings("jfk.flac"), dtype="float32")
    found = hear(recognizer, soxr.resample(samples, rate, SPEECH_RATE))
    assert wer(recordings("jfk.txt").read_text(), found.text) <= 0.1


def test_words_follow_each_other_within_the_utterance(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    found = hear(recognizer, reading)
    (segment,) = found.segments
    assert " ".join(word.text for word in segment.words) == segment.text
    assert times(found) == sorted(times(found))
    assert times(found)[0] >= 0
    assert times(found)[-1] <= len(reading) / SPEECH_RATE
    assert all(0 < word.probability <= 1 for word in segment.words)
    assert sum(word.end > word.start for word in segment.words) >= len(segment.words) - 1


def test_silence_before_it_moves_words_by_its_length(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    speech = reading[: 5 * SPEECH_RATE]
    before, after = hear(recognizer, speech), hear(recognizer, np.pad(speech, (2 * SPEECH_RATE, 0)))
    assert wer(before.text, after.text) == 0
    moved = np.array(times(after)) - np.array(times(before))
    assert np.median(moved) == pytest.approx(2, abs=0.1)


def test_company_changes_nothing(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 3 * SPEECH_RATE).astype(np.float32)
    parts = [reading, noise, reading[:40_000], reading[40_000:90_000], np.zeros(100, np.float32)]
    batch = [Utterance(part, WORDS) for part in parts]
    together = recognizer.run(batch)
    assert together == [recognizer.run([one])[0] for one in batch]
    with ThreadPoolExecutor(2) as lanes:
        assert together == list(lanes.map(lambda one: recognizer.run([one])[0], batch))
    assert recognizer.run([]) == []


@pytest.mark.parametrize("count", [1, 10, 160, 894, 895, 1600])
@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
def test_the_shortest_utterances_are_taken(recognizer: MoonshineRecognizer, count: int, level: float) -> None:
    found = hear(recognizer, np.full(count, level, np.float32))
    assert times(found) == sorted(times(found))
    assert max(times(found), default=0) <= count / SPEECH_RATE


@pytest.mark.parametrize("seconds", [0.5, 2, 10])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.3])
def test_silence_and_loud_noise_say_nothing(recognizer: MoonshineRecognizer, level: float, seconds: float) -> None:
    noise = np.random.default_rng(0).normal(0, level, int(seconds * SPEECH_RATE)).astype(np.float32)
    found = hear(recognizer, noise)
    assert found.text == ""
    assert found.segments == ()


def test_clipped_speech_is_still_speech(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    assert wer(READ, hear(recognizer, np.clip(reading * 10, -1, 1)).text) <= 0.2


def test_quiet_speech_is_heard_as_well(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    assert wer(READ, hear(recognizer, reading * 0.01).text) == 0


def test_telephone_band(recognizer: MoonshineRecognizer, reading: Samples) -> None:
    narrow = soxr.resample(soxr.resample(reading, SPEECH_RATE, 8_000), 8_000, SPEECH_RATE)
    assert wer(READ, hear(recognizer, narrow).text) <= 0.2


def test_what_is_too_long_is_refused(recognizer: MoonshineRecognizer) -> None:
    samples = np.zeros(int(SECONDS * SPEECH_RATE) + 1, np.float32)
    hear(recognizer, samples[:-1])
    with pytest.raises(ServingError, match="cut it") as refused:
        hear(recognizer, samples)
    assert refused.value.code is Code.TOO_LARGE


def test_closing_again_does_nothing(moonshine: Path, reading: Samples) -> None:
    engine: MoonshineRecognizer = engine_class("moonshine").load(moonshine, EngineOptions())
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        hear(engine, reading)
