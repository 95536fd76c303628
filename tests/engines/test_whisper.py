"""The Whisper engine on small random checkpoints: batches, languages, fallback, silence, word times."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Recognition, Recognized, Recognizer, Utterance
from services.engines.whisper import WhisperRecognizer
from services.engines.whisper.decoding import FALLBACK
from tests.whispers import ENGLISH, SMALL, TINY, Shape, clips, export, network, write_transformers

GREEDY = Recognition(language="en", temperature=0.0)
SHORT = EngineOptions(lanes=2, context=64)
START, ENGLISH_TOKEN, TRANSCRIBE = 50_258, 50_259, 50_359


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def engine(artefact: Path) -> WhisperRecognizer:
    return WhisperRecognizer.load(artefact, SHORT)


def made(folder: Path, shape: Shape = SMALL, **entry: Any) -> Path:
    return export(folder / "artefact", write_transformers(folder / "checkpoint", shape), **entry)


def heard(engine: WhisperRecognizer, how: Recognition, *seconds: float) -> list[Recognized]:
    return engine.run([Utterance(samples, how) for samples in clips(*seconds)])


def rounded(found: Recognized) -> Recognized:
    """But for the last digits of what floats add up to, and so for word times."""
    near = {"score": 3, "no_speech": 3, "compression_ratio": 3}
    segments = [
        replace(segment, words=(), **{name: round(getattr(segment, name), digits) for name, digits in near.items()})
        for segment in found.segments
    ]
    return replace(found, segments=tuple(segments), language_probability=round(found.language_probability, 3))


def test_it_is_a_recogniser_and_says_what_it_can(engine: WhisperRecognizer, tmp_path: Path) -> None:
    assert isinstance(engine, Recognizer)
    found = engine.abilities
    assert found.seconds == 30
    assert len(found.languages) == 99
    assert {"en", "jv", "haw"} < set(found.languages)
    assert (found.translates, found.prompts, found.samples, found.word_times) == (True,) * 4
    english = WhisperRecognizer.load(made(tmp_path, ENGLISH), SHORT)
    assert english.abilities.languages == ("en",)
    assert not english.abilities.translates
    assert [one.language for one in heard(english, Recognition(temperature=0.0), 2.0)] == ["en"]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_an_utterance_is_the_same_in_any_batch(engine: WhisperRecognizer, size: int) -> None:
    ways = [
        GREEDY,
        Recognition(temperature=0.0),
        replace(GREEDY, prompt="the ship", word_times=True),
        replace(GREEDY, language="de", translate=True),
    ]
    sounds = [*clips(30.0, 0.01, 3.3, 12.0, 0.5, 29.99), np.zeros(16_000, np.float32)]
    batch = [Utterance(samples, ways[number % len(ways)]) for number, samples in enumerate(sounds[:size])]
    together = engine.run(batch)
    assert [rounded(one) for one in together] == [rounded(engine.run([one])[0]) for one in batch]
    assert any(one.text for one in together)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_utterance_is_the_same_in_any_batch_of_the_real_shape(tmp_path: Path, precision: str) -> None:
    engine = WhisperRecognizer.load(made(tmp_path, TINY, precision=precision), EngineOptions(context=120))
    batch = [Utterance(samples, GREEDY) for samples in clips(30.0, 0.01, 3.3, 12.0, 0.5, 29.99, 20.0, 1.0)]
    alone = [engine.run([one])[0] for one in batch]
    assert len({one.text for one in alone}) > 4
    for size in (2, 4, 8):
        together = [one for first in range(0, 8, size) for one in engine.run(batch[first : first + size])]
        assert [one.text for one in together] == [one.text for one in alone]


@pytest.mark.parametrize("shape", [SMALL, pytest.param(TINY, marks=pytest.mark.slow)], ids=["small", "tiny"])
def test_tokens_are_those_of_transformers(tmp_path: Path, shape: Shape) -> None:
    artefact = made(tmp_path, shape)
    sounds = clips(30.0, 5.0)
    found = WhisperRecognizer.load(artefact, EngineOptions(context=60)).run([Utterance(s, GREEDY) for s in sounds])
    for one, expected in zip(found, generated(shape, artefact, sounds, 30), strict=True):
        tokens = [token for segment in one.segments for token in segment.tokens]
        assert len(tokens) > 10
        # Times with no text between them belong to no segment.
        assert subsequence(tokens, expected)
        assert [t for t in tokens if t < 50_257] == [t for t in expected if t < 50_257]


def generated(shape: Shape, artefact: Path, sounds: list[Any], tokens: int) -> list[list[int]]:
    """By transformers, with the rules for times and the suppressed tokens of the artefact."""
    import json

    config = json.loads((artefact / "ct2" / "config.json").read_text())
    model = network(shape)
    told = {
        "no_timestamps_token_id": 50_363,
        "suppress_tokens": config["suppress_ids"],
        "begin_suppress_tokens": config["suppress_ids_begin"],
        "max_initial_timestamp_index": 50,
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": ENGLISH_TOKEN},
        "task_to_id": {"transcribe": TRANSCRIBE},
    }
    for name, value in told.items():
        setattr(model.generation_config, name, value)
    features = WhisperFeatureExtractor(feature_size=shape.mels)(sounds, sampling_rate=16_000, return_tensors="np")
    inputs = torch.tensor(features.input_features)
    ids = model.generate(
        inputs,
        language="en",
        task="transcribe",
        return_timestamps=True,
        max_new_tokens=tokens,
        force_unique_generate_call=True,
    )
    return [row[3:] for row in ids.tolist()]


def subsequence(few: list[int], many: list[int]) -> bool:
    rest = iter(many)
    return all(one in rest for one in few)


def test_lanes_may_run_at_the_same_time(engine: WhisperRecognizer) -> None:
    ready = threading.Barrier(2)
    batches = [[Utterance(samples, GREEDY)] for samples in clips(2.0, 4.0)]
    alone = [engine.run(batch) for batch in batches]

    def lane(number: int) -> bool:
        ready.wait(30)
        return all(engine.run(batches[number]) == alone[number] for _ in range(5))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lane, range(2))) == [True, True]


def test_only_languages_of_the_catalog_are_heard(tmp_path: Path) -> None:
    engine = WhisperRecognizer.load(made(tmp_path, languages={"de": "de", "jv": "jw"}), SHORT)
    assert engine.abilities.languages == ("de", "jv")
    found = heard(engine, Recognition(temperature=0.0), 1.0, 5.0, 20.0)
    assert {one.language for one in found} <= {"de", "jv"}
    assert all(0.5 <= one.language_probability <= 1 for one in found)
    given = heard(engine, Recognition(language="de", temperature=0.0), 1.0)
    assert (given[0].language, given[0].language_probability) == ("de", 1.0)


def test_unlikely_text_is_tried_at_higher_temperatures(engine: WhisperRecognizer) -> None:
    (found,) = heard(engine, Recognition(language="en"), 5.0)
    # All that a network of chance writes is unlikely; the likeliest of six tries is kept.
    assert found.segments[0].score < -1
    tried = {heard(engine, Recognition(language="en", temperature=t), 5.0)[0].segments[0].temperature for t in FALLBACK}
    assert tried == set(FALLBACK)
    assert found.segments[0].temperature in tried


def test_only_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.engines.whisper import decoding

    engine = WhisperRecognizer.load(made(tmp_path), SHORT)
    batch = [Utterance(samples, Recognition(language="en")) for samples in clips(2.0, 30.0)]
    first = [engine.run([replace(one, recognition=GREEDY)])[0].segments[0].score for one in batch]
    monkeypatch.setattr(decoding, "MOST_COMPRESSION", 1000.0)
    monkeypatch.setattr(decoding, "LEAST_SCORE", sum(first) / 2)
    good = int(np.argmax(first))
    assert engine.run(batch)[good].segments[0].temperature == 0


def test_no_speech_is_nothing(tmp_path: Path) -> None:
    checkpoint = write_transformers(tmp_path / "checkpoint", convinced=True)
    engine = WhisperRecognizer.load(export(tmp_path / "artefact", checkpoint), SHORT)
    for how in (GREEDY, Recognition(language="en")):
        assert [one.segments for one in heard(engine, how, 3.0, 1.0)] == [(), ()]
    assert heard(engine, GREEDY, 1.0)[0].text == ""


@pytest.mark.parametrize("seconds", [0.01, 1.0, 30.0])
def test_words_have_times_in_order_within_the_speech(engine: WhisperRecognizer, seconds: float) -> None:
    (found,) = heard(engine, replace(GREEDY, word_times=True, prompt="and"), seconds)
    words = [word for segment in found.segments for word in segment.words]
    assert words
    assert [word.text for word in words] == [word for segment in found.segments for word in segment.text.split()]
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= seconds
    assert all(0 <= word.probability <= 1 for word in words)


def test_segments_are_within_the_speech(engine: WhisperRecognizer) -> None:
    for one, seconds in zip(heard(engine, GREEDY, 0.3, 30.0), (0.3, 30.0), strict=True):
        assert all(0 <= segment.start <= segment.end <= seconds for segment in one.segments)
        assert all(segment.score < 0 and segment.compression_ratio > 0 for segment in one.segments)


def test_a_long_prompt_leaves_room(engine: WhisperRecognizer) -> None:
    (found,) = heard(engine, replace(GREEDY, prompt="the ship and " * 500, hot_words=("ship",)), 2.0)
    assert 0 < sum(len(segment.tokens) for segment in found.segments) <= 32


def test_nothing_is_nothing(engine: WhisperRecognizer) -> None:
    assert engine.run([]) == []


@pytest.mark.parametrize("samples", [0, 480_001])
def test_what_is_no_window_is_refused(engine: WhisperRecognizer, samples: int) -> None:
    with pytest.raises(ValueError, match="longer than 30 s"):
        engine.run([Utterance(np.zeros(samples, np.float32), GREEDY)])


@pytest.mark.parametrize("temperature", [-0.1, 1.1, float("nan")])
def test_a_temperature_that_is_none_is_refused(engine: WhisperRecognizer, temperature: float) -> None:
    with pytest.raises(ServingError) as caught:
        engine.check(Recognition(temperature=temperature))
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "temperature")
    engine.check(Recognition(temperature=0.5))


def test_closed_twice_it_runs_no_more(artefact: Path) -> None:
    engine = WhisperRecognizer.load(artefact, SHORT)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        heard(engine, GREEDY, 1.0)
