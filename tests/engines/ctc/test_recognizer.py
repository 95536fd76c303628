"""The ctc engine on a network that takes its waveform for logits: what is heard is what the test says."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.core.audio import Samples
from services.core.engine import EngineOptions
from services.core.errors import Code, OperatorError, ServingError
from services.core.speech import Recognition, Recognized, Recognizer, Utterance
from services.engines import engine_class
from services.engines.ctc.engine import CtcRecognizer
from services.engines.ctc.format import FILE, CtcFormat, LanguageModelSettings
from tests.engines.ctc.models import save_network, says, spelling, write_bigrams

FORM = spelling("ABNT")
FULL = Recognition(word_times=True, hypotheses=4)


def opened(folder: Path, form: CtcFormat = FORM, *, masked: bool = False) -> CtcRecognizer:
    return CtcRecognizer.load(save_network(folder, form, masked=masked), EngineOptions())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> CtcRecognizer:
    return opened(tmp_path_factory.mktemp("artefact"))


def recognized(engine: CtcRecognizer, samples: Samples, **recognition: Any) -> Recognized:
    (found,) = engine.run([Utterance(samples, Recognition(**recognition))])
    return found


def test_it_is_a_recognizer_by_name(engine: CtcRecognizer) -> None:
    assert engine_class("ctc") is CtcRecognizer
    assert isinstance(engine, Recognizer)
    abilities = engine.abilities
    assert (abilities.languages, abilities.seconds, abilities.hypotheses) == (("en",), 30.0, 16)
    assert (abilities.hot_words, abilities.word_times) == (True, True)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("BB-A--T", "bat"),
        ("A-AA", "aa"),
        ("--", ""),
        ("|", ""),
        ("||B|-|-A|", "b a"),
        ("-AT|BAT-", "at bat"),
    ],
)
@pytest.mark.parametrize("hypotheses", [1, 4], ids=["best path", "beam"])
def test_what_is_heard_is_written(engine: CtcRecognizer, frames: str, text: str, hypotheses: int) -> None:
    found = recognized(engine, says(FORM, frames), hypotheses=hypotheses)
    assert found.text == text
    assert len(found.segments) == bool(text)
    assert (found.language, found.language_probability) == ("en", 1.0)
    texts = [text, *(other.text for other in found.alternatives)]
    assert len(set(texts)) == len(texts) <= hypotheses


def test_words_have_times_and_probabilities(engine: CtcRecognizer) -> None:
    samples = says(FORM, "-BBAT-||-A-T--")
    (segment,) = recognized(engine, samples, word_times=True).segments
    frame = FORM.frame_seconds
    assert [(word.text, round(word.start / frame), round(word.end / frame)) for word in segment.words] == [
        ("bat", 1, 5),
        ("at", 9, 12),
    ]
    assert (segment.start, segment.end) == (0.0, len(samples) / 16_000)
    assert all(0.99 < word.probability <= 1 for word in segment.words)
    assert -0.1 < segment.score <= 0
    assert recognized(engine, samples).segments[0].words == ()


def test_what_is_unsure_has_lower_probability_and_score(engine: CtcRecognizer) -> None:
    sure, unsure = (recognized(engine, says(FORM, "BAT", much), word_times=True).segments[0] for much in (9.0, 2.0))
    assert unsure.score < sure.score
    assert unsure.words[0].probability < sure.words[0].probability


def test_hot_words_rescue_a_word(engine: CtcRecognizer) -> None:
    """ "nat" is a bit likelier than "bat" by sound."""
    samples = says(FORM, "NAT|AT").reshape(-1, 6)
    samples[0, FORM.tokens.index("B")] = 8.0
    assert recognized(engine, samples.ravel()).text == "nat at"
    assert recognized(engine, samples.ravel(), hot_words=("bat",)).text == "bat at"
    assert recognized(engine, samples.ravel(), hot_words=("Bat at", "tan")).text == "bat at"
    assert recognized(engine, samples.ravel(), hot_words=("bat ban",)).text == "nat at"


def test_hot_words_do_not_write_what_nobody_says(engine: CtcRecognizer) -> None:
    assert recognized(engine, says(FORM, "--------"), hot_words=("bat", "ban")).text == ""
    assert recognized(engine, says(FORM, "NAT"), hot_words=("bat", "ban")).text == "nat"


@pytest.mark.parametrize("phrase", ["bär", "b4t", "", " ", "b-a"])
def test_hot_words_that_cannot_be_written_are_refused(engine: CtcRecognizer, phrase: str) -> None:
    with pytest.raises(ServingError) as told:
        engine.check(Recognition(hot_words=("bat", phrase)))
    assert (told.value.code, told.value.param) == (Code.INVALID_ARGUMENT, "hot_words[1]")
    engine.check(Recognition(hot_words=("Bat nan",)))


def test_too_many_hot_words_are_refused(engine: CtcRecognizer) -> None:
    for words in (("a",) * 1001, ("a" * 100_001,)):
        with pytest.raises(ServingError, match="at most 1000"):
            engine.check(Recognition(hot_words=words))


def test_a_language_model_is_part_of_an_artefact(tmp_path: Path) -> None:
    form = spelling("AB", language_model=LanguageModelSettings(weight=1, word_bonus=0), hot_bonus=4)
    write_bigrams(tmp_path)
    samples = says(form, "BA").reshape(2, 4)
    samples[[0, 1], [form.tokens.index("A"), form.tokens.index("B")]] = 8.8
    assert recognized(opened(tmp_path, spelling("AB")), samples.ravel()).text == "ba"
    engine = opened(tmp_path, form)
    assert recognized(engine, samples.ravel()).text == "ab"
    assert recognized(engine, samples.ravel(), hot_words=("ba",)).text == "ba"
    assert recognized(engine, samples.ravel(), hypotheses=2).alternatives[0].text == "ba"


def test_tokens_may_be_whole_words(tmp_path: Path) -> None:
    form = replace_tokens(("<blank>", "Zero", "one", "<junk>"), blank=0, delimiter=None, silent=(3,))
    engine = opened(tmp_path, form)
    logits = np.zeros((6, 4), dtype=np.float32)
    logits[np.arange(6), [1, 1, 0, 1, 3, 2]] = 9.0
    (segment,) = recognized(engine, logits.ravel(), word_times=True).segments
    assert segment.text == "zero zero one"
    assert [word.text for word in segment.words] == ["zero", "zero", "one"]
    logits[5, 1] = 9.2
    assert recognized(engine, logits.ravel()).text == "zero zero zero"
    assert recognized(engine, logits.ravel(), hot_words=("one",)).text == "zero zero one"


def replace_tokens(tokens: tuple[str, ...], **fields: Any) -> CtcFormat:
    return CtcFormat.model_validate({**FORM.model_dump(), "tokens": tokens, "fewest_samples": len(tokens), **fields})


def test_cases_are_written_where_the_vocabulary_has_them(tmp_path: Path) -> None:
    engine = opened(tmp_path, spelling("Bat", formatted=True))
    assert recognized(engine, says(spelling("Bat"), "Bat")).text == "Bat"


lengths = st.lists(st.integers(1, 400), min_size=1, max_size=5)


@pytest.mark.parametrize("masked", [False, True])
@settings(max_examples=20, deadline=None)
@given(lengths=lengths, seed=st.integers(0, 1000))
def test_an_utterance_does_not_depend_on_its_company(
    lengths: list[int], seed: int, masked: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    form = spelling("ABNT", batches=masked, normalize=True)
    engine = opened(tmp_path_factory.mktemp("artefact"), form, masked=masked)
    random = np.random.default_rng(seed)
    batch = [Utterance(random.normal(size=length).astype(np.float32), FULL) for length in lengths]
    together = engine.run(batch)
    assert together == [engine.run([one])[0] for one in batch]


def test_lanes_may_run_at_the_same_time(engine: CtcRecognizer) -> None:
    ready = threading.Barrier(3)
    batches = [[Utterance(says(FORM, text, 2.0), FULL)] for text in ("BAT|AT", "TAN", "-")]

    def lane(batch: list[Utterance]) -> bool:
        ready.wait(10)
        alone = engine.run(batch)
        return all(engine.run(batch) == alone for _ in range(20))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lane, batches)) == [True] * 3


def test_silence_and_next_to_nothing(tmp_path: Path) -> None:
    engine = opened(tmp_path, spelling("ABNT", normalize=True, fewest_samples=6))
    for samples in (np.zeros(1), np.zeros(16_000), np.ones(160), np.full(160, 0.5)):
        (found,) = engine.run([Utterance(samples.astype(np.float32), FULL)])
        assert all(0 <= word.start <= word.end for segment in found.segments for word in segment.words)
    assert engine.run([]) == []


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    engine = opened(tmp_path)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        recognized(engine, says(FORM, "B"))


@pytest.mark.parametrize(
    "fields",
    [
        {"tokens": ()},
        {"tokens": ("<pad>", "|")},
        {"blank": 6},
        {"delimiter": 0},
        {"silent": (7,)},
        {"silent": (-1,)},
        {"tokens": ("<pad>", "|", "a b")},
        {"tokens": ("<pad>", "|", "")},
        {"languages": ()},
        {"frame_seconds": 0},
        {"language_model": {"file": "../lm.arpa"}},
        {"nothing": 1},
    ],
)
def test_a_format_that_makes_no_sense_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / FILE).write_text(json.dumps({**FORM.model_dump(mode="json"), **fields}))
    with pytest.raises(ValidationError):
        CtcFormat.load(tmp_path)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    save_network(tmp_path, FORM)
    spelling("ABNTX").save(tmp_path)
    with pytest.raises(OperatorError, match=r"logits for 6 tokens, ctc\.json names 7"):
        CtcRecognizer.load(tmp_path, EngineOptions())
    replace_tokens(FORM.tokens, language_model=LanguageModelSettings()).save(tmp_path)
    with pytest.raises(OperatorError, match=r"lm\.arpa\.gz cannot be read"):
        CtcRecognizer.load(tmp_path, EngineOptions())
