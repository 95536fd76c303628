"""The engine on the wheel's own model: real decoding, of recordings where there are some and of noises everywhere."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.audio import SPEECH_RATE, Samples
from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Recognition, Recognized, Recognizer, Utterance
from services.engines import engine_class
from services.engines.pocketsphinx.recognizer import SphinxRecognizer
from tests.engines.pocketsphinx.conftest import recording

COMMANDS = "public <c> = (turn | switch) [the] (light | lights | radio) (on | off) | stop | go;"
FELLOWS = "public <f> = and so my fellow (americans | romans | citizens) [ask not what your country can do for you];"
DIGITS = "public <d> = zero | one | two | three | four | five | six | seven | eight | nine;"
RANDOM = np.random.default_rng(5)


def noise(seconds: float, level: float = 0.05) -> Samples:
    return (RANDOM.standard_normal(int(seconds * SPEECH_RATE)) * level).astype(np.float32)


def heard(engine: SphinxRecognizer, samples: Samples, **how: object) -> Recognized:
    recognition = replace(Recognition(), **how)  # type: ignore[arg-type]
    engine.check(recognition)
    (recognized,) = engine.run([Utterance(samples, recognition)])
    return recognized


@pytest.fixture(scope="module")
def jfk() -> Samples:
    """The first 2.4 s: "And so my fellow Americans"."""
    return recording("jfk.flac")[: int(2.4 * SPEECH_RATE)]


@pytest.fixture(scope="module")
def typing() -> Samples:
    """2 s: "in being comparatively modern"."""
    return recording("ljspeech/LJ001-0002.flac")


def test_it_is_a_recognizer_with_its_abilities(engine: SphinxRecognizer) -> None:
    assert engine_class("pocketsphinx") is SphinxRecognizer
    assert isinstance(engine, Recognizer)
    assert (engine.abilities.languages, engine.abilities.grammars, engine.abilities.keywords) == (("en",), True, True)
    assert not engine.abilities.hot_words


def test_words_come_with_times_and_probabilities(engine: SphinxRecognizer, jfk: Samples) -> None:
    recognized = heard(engine, jfk, word_times=True)
    assert "my fellow" in recognized.text
    (segment,) = recognized.segments
    assert segment.text == " ".join(word.text for word in segment.words)
    assert not set("<>[]()") & set(segment.text)
    (fellow,) = [word for word in segment.words if word.text == "fellow"]
    assert (fellow.start, fellow.end) == (pytest.approx(1.24, abs=0.1), pytest.approx(1.62, abs=0.1))
    assert all(one.end <= other.start + 1e-9 for one, other in zip(segment.words, segment.words[1:], strict=False))
    assert all(0 <= word.probability <= 1 for word in segment.words)
    assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert segment.score == pytest.approx(np.mean([np.log(max(1e-9, word.probability)) for word in segment.words]))


def test_words_and_hypotheses_are_given_if_asked_for(engine: SphinxRecognizer, typing: Samples) -> None:
    plain, both = heard(engine, typing), heard(engine, typing, hypotheses=2, word_times=True)
    assert (len(plain.alternatives), len(both.alternatives)) == (0, 1)
    assert plain.segments == (replace(both.segments[0], words=()),)
    assert both.segments[0].words


def test_other_hypotheses_are_distinct_and_in_order(engine: SphinxRecognizer, jfk: Samples) -> None:
    recognized = heard(engine, jfk, hypotheses=10)
    texts = [recognized.text, *(alternative.text for alternative in recognized.alternatives)]
    assert 3 < len(texts) <= 10
    assert len(set(texts)) == len(texts)
    scores = [recognized.segments[0].score, *(alternative.score for alternative in recognized.alternatives)]
    assert scores == sorted(scores, reverse=True)


def test_a_grammar_says_what_can_be_heard(engine: SphinxRecognizer, jfk: Samples, typing: Samples) -> None:
    recognized = heard(engine, jfk, grammar=FELLOWS, word_times=True, hypotheses=3)
    assert recognized.alternatives == ()
    assert recognized.text == "and so my fellow americans"
    assert recognized.segments[0].words[3].start == pytest.approx(1.24, abs=0.1)
    assert all(0.5 <= word.probability <= 1 for word in recognized.segments[0].words)
    assert heard(engine, typing, grammar=FELLOWS).segments == ()
    assert heard(engine, jfk, grammar=COMMANDS).segments == ()


def test_a_digit_is_heard_by_a_grammar(engine: SphinxRecognizer) -> None:
    silence = np.zeros(SPEECH_RATE // 5, dtype=np.float32)
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    clips = {names[n]: recording(f"fsdd/{n}_jackson_{take}.flac") for take in (5, 6) for n in range(10)}
    found = [heard(engine, np.concatenate((silence, clip, silence)), grammar=DIGITS).text for clip in clips.values()]
    assert sum(map(str.__eq__, found, clips)) >= 6
    assert set(found) <= {*names, ""}


def test_keywords_are_spotted_with_their_times(engine: SphinxRecognizer, jfk: Samples) -> None:
    phrases = ("Americans", "my  fellow", "elephant", "typography")
    recognized = heard(engine, jfk, keywords=phrases, word_times=True)
    assert [segment.text for segment in recognized.segments] == ["my fellow", "americans"]
    fellow, americans = recognized.segments
    assert (fellow.start, americans.end) == (pytest.approx(0.98, abs=0.15), pytest.approx(2.15, abs=0.15))
    assert [word.text for word in fellow.words] == ["my fellow"]
    assert all(0.5 < word.probability <= 1 for segment in recognized.segments for word in segment.words)
    assert recognized.alternatives == ()


def test_nothing_depends_on_what_was_decoded_before_or_beside(
    engine: SphinxRecognizer, jfk: Samples, typing: Samples, artefact: Path
) -> None:
    short = jfk[: int(1.7 * SPEECH_RATE)]
    asked = [
        Utterance(short, Recognition(hypotheses=4, word_times=True)),
        Utterance(typing, Recognition(grammar=FELLOWS)),
        Utterance(jfk, Recognition(grammar=FELLOWS, word_times=True)),
        Utterance(noise(0.5), Recognition()),
        Utterance(jfk, Recognition(keywords=("fellow", "modern"))),
    ]
    fresh = []
    for utterance in asked:  # each the first that a decoder hears
        other = SphinxRecognizer.load(artefact, EngineOptions())
        fresh += other.run([utterance])
        other.close()
    assert fresh[0].text
    assert fresh[2].text
    start = Barrier(2)

    def lane(order: list[int]) -> list[Recognized]:
        start.wait(30)
        found = dict(zip(order, (engine.run([asked[number]])[0] for number in order), strict=True))
        return [found[number] for number in range(len(asked))]

    orders = [list(range(len(asked))), list(reversed(range(len(asked))))]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lane, orders)) == [fresh, fresh]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(1, np.float32),
        np.zeros(SPEECH_RATE // 100, np.float32),
        np.zeros(SPEECH_RATE, np.float32),
        np.ones(SPEECH_RATE, np.float32),
        noise(0.01),
        noise(1.0),
        noise(1.0, level=10),
        np.sin(np.arange(SPEECH_RATE, dtype=np.float32) * 0.2),
        np.resize(np.array([1, -1], np.float32), SPEECH_RATE),
    ],
    ids=["one sample", "10 ms", "silence", "constant", "10 ms noise", "noise", "clipped", "tone", "highest"],
)
@pytest.mark.parametrize("how", [{}, {"grammar": DIGITS}, {"keywords": ("elephant", "go")}], ids=str)
def test_what_is_no_speech_is_survived(engine: SphinxRecognizer, samples: Samples, how: dict[str, object]) -> None:
    recognized = heard(engine, samples, hypotheses=10, word_times=True, **how)
    assert len(recognized.text.split()) <= 5
    assert all(0 <= word.start <= word.end <= 2 for segment in recognized.segments for word in segment.words)


def test_the_longest_utterance_is_decoded_and_an_hour_refused(engine: SphinxRecognizer) -> None:
    heard(engine, noise(engine.abilities.seconds), grammar=DIGITS)
    with pytest.raises(ValueError, match="57600000 samples"):
        heard(engine, np.zeros(3600 * SPEECH_RATE, np.float32))


@pytest.mark.parametrize(
    ("how", "param", "reason"),
    [
        ({"grammar": "public <a> = go | frobnicate | größe | 7;"}, "grammar", "'frobnicate', 'größe', '7'; use other"),
        ({"grammar": "public <a> = go\0stop;"}, "grammar", "not in the dictionary"),
        ({"grammar": 'public <a> = "him(2)" | "<sil>";'}, "grammar", "not in the dictionary"),
        ({"grammar": "public <a> = go"}, "grammar", "expected ;"),
        ({"keywords": ("go", "")}, "keywords", "empty"),
        ({"keywords": ("go /1e-50/",)}, "keywords", "'/1e-50/'"),
        ({"keywords": ("go\nstop x\0",)}, "keywords", "not in the dictionary"),
        ({"keywords": ("go " * 11,)}, "keywords", "11 words"),
        ({"keywords": tuple(f"go{n}" for n in range(101))}, "keywords", "at most 100"),
        ({"keywords": ("go",), "grammar": COMMANDS}, "keywords", "not with a grammar"),
    ],
)
def test_what_it_cannot_do_is_refused(
    engine: SphinxRecognizer, how: dict[str, object], param: str, reason: str
) -> None:
    with pytest.raises(ServingError, match=reason) as told:
        heard(engine, noise(0.1), **how)
    assert (told.value.code, told.value.param) == (Code.INVALID_ARGUMENT, param)


lexemes = st.sampled_from(
    [*"()[]|*+", "go", "stop", "the", "a", "/2/", "<NULL>", '"go on"', "zero", "(go|stop)", "[the]"]
)


@settings(max_examples=40)
@given(text=st.lists(lexemes, min_size=1, max_size=60).map(" ".join))
def test_the_library_takes_every_grammar_that_is_not_refused(engine: SphinxRecognizer, text: str) -> None:
    try:
        engine.check(Recognition(grammar=f"public <a> = {text};"))
    except ServingError:
        return
    heard(engine, noise(0.3), grammar=f"public <a> = {text};")


@pytest.mark.parametrize(
    "grammar",
    [
        "public <a> = (" + " | ".join(f'"{first} {then}"' for first in "abcdefghij" for then in "klmnopqrst") + ")+;",
        "public <a> = " + "[a] " * 55 + "b;",
        "public <a> = " + "(a | b | [c])" * 18 + ";",
        "public <a> = " + "(" * 18 + "[go]" + ")*" * 18 + ";",
        "public <a> = go <VOID>;",
        "public <a> = /0.00001/ go | /9999/ stop;",
    ],
    ids=["pairs", "optional", "choices", "stars", "dead end", "weights"],
)
def test_the_largest_grammars_do_not_hang(engine: SphinxRecognizer, grammar: str) -> None:
    started = time.monotonic()
    heard(engine, np.concatenate([noise(0.3, level) for level in (0.001, 0.1)] * 8), grammar=grammar)
    assert time.monotonic() - started < 10


def test_more_grammars_than_are_kept(engine: SphinxRecognizer, jfk: Samples) -> None:
    words = ("a", "b", "c", "go", "stop", "now", "on", "off", "yes", "no", "up", "down", "left", "right", "in", "out")
    for word in (*words, *words, "zero", "one"):
        heard(engine, noise(0.1), grammar=f"public <a> = {word};")
        heard(engine, noise(0.1), keywords=(word,))
    assert heard(engine, jfk, grammar=FELLOWS).text == "and so my fellow americans"


def test_closing_twice_is_harmless_and_then_nothing_runs(artefact: Path) -> None:
    recognizer = SphinxRecognizer.load(artefact, EngineOptions())
    recognizer.close()
    recognizer.close()
    with pytest.raises(RuntimeError, match="closed"):
        recognizer.run([Utterance(noise(0.1))])


@pytest.mark.parametrize("gone", ["en-us", "en-us.lm.bin", "cmudict-en-us.dict"])
def test_an_artefact_that_lacks_a_file_is_not_opened(artefact: Path, tmp_path: Path, gone: str) -> None:
    settings = json.loads((artefact / "sphinx.json").read_text())
    absolute = {name: str(artefact / value) if isinstance(value, str) else value for name, value in settings.items()}
    missing = {name: value if not str(value).endswith(f"/{gone}") else "gone" for name, value in absolute.items()}
    (tmp_path / "sphinx.json").write_text(json.dumps(missing))
    with pytest.raises(FileNotFoundError, match="build the artefact again"):
        SphinxRecognizer.load(tmp_path, EngineOptions())


def test_the_package_and_its_sound_driver_are_not_imported(artefact: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from services.core.engine import EngineOptions;"
        "from services.engines.pocketsphinx.recognizer import SphinxRecognizer as S;"
        f"S.load(Path({str(artefact)!r}), EngineOptions()).close();"
        "print({'pocketsphinx', 'sounddevice', 'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
