"""The recipe ``digits-commands``: what it does to sound, what it mixes, and the weights it made."""

import importlib
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export.bundled_ctc import described
from models.export.bundled_ctc.checkpoint import load
from models.sources import RECIPES, WEIGHTS, fetch
from services.core.catalog import Source
from tests.recordings import recordings

RECIPE = RECIPES / "digits-commands"
MODULES = (
    "augmentation",
    "bank",
    "batches",
    "bundle",
    "clips",
    "config",
    "features",
    "mixing",
    "scoring",
    "synthesis",
    "targets",
    "trainer",
)


@pytest.fixture(scope="module")
def recipe() -> Iterator[SimpleNamespace]:
    """Its modules, which know each other by names that other recipes use, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE)
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        for name in MODULES:
            del sys.modules[name]


def tone(samples: int) -> np.ndarray:
    return (0.3 * np.sin(np.arange(samples) / 7)).astype(np.float32)


def bank(recipe: SimpleNamespace) -> SimpleNamespace:
    clip = recipe.clips.to_clip

    def said(words: str, speaker: str) -> object:
        return clip(tone(4000), words.split(), speaker)

    return recipe.bank.Bank(
        digits=[said("one", "her"), said("two", "her"), said("two", "him")],
        words=[said("one", "robot"), said("two", "robot"), said("yes", "robot")],
        others=[said("", "robot")],
        recorded_others=[clip(tone(60_000), (), "reader")],
        held_out=[],
        held_out_others=[],
    )


@given(length=st.integers(200, 20_000), factor=st.floats(0.7, 1.4))
@settings(max_examples=20, deadline=None)
def test_speed_changes_the_length(recipe: SimpleNamespace, length: int, factor: float) -> None:
    changed = recipe.augmentation.change_speed(tone(length), factor)
    assert changed.dtype == np.float32
    assert len(changed) == pytest.approx(length / factor, abs=2)


@given(length=st.integers(1, 20_000), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_sound_stays_sound(recipe: SimpleNamespace, length: int, seed: int) -> None:
    make, rng, wave = recipe.augmentation, np.random.default_rng(seed), tone(length)
    assert 0.8 * length <= len(make.cut_ends(wave, rng)) <= length
    assert 0 < len(make.crop(wave, rng, 0.01, 0.5)) <= min(length, 8000)
    noise = make.coloured_noise(length, rng)
    for changed in (make.reverberate(wave, rng), make.add_noise(wave, noise, 10), make.babble([wave], length, rng)):
        assert changed.shape == wave.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


@pytest.mark.parametrize("snr", [0, 10, 30])
def test_noise_is_as_loud_as_asked(recipe: SimpleNamespace, snr: float) -> None:
    make, wave = recipe.augmentation, tone(32_000)
    added = make.add_noise(wave, make.coloured_noise(32_000, np.random.default_rng(0)), snr) - wave
    assert 10 * np.log10(make.power(wave) / make.power(added)) == pytest.approx(snr, abs=1.5)


def test_silence_has_no_power(recipe: SimpleNamespace) -> None:
    assert recipe.augmentation.power(np.zeros(10, np.float32)) == 0
    assert recipe.synthesis.trim(np.zeros(10, np.float32)).size == 0


@pytest.mark.parametrize("recorded", [True, False])
def test_examples_say_words_of_the_vocabulary(recipe: SimpleNamespace, recorded: bool) -> None:
    config = recipe.config.load_config(RECIPE / "config.yaml")
    clips = bank(recipe) if recorded else recipe.bank.Bank(**{**_fields(bank(recipe)), "digits": []})
    mixer = recipe.mixing.Mixer(config.mixing, config.digits, clips, np.random.default_rng(0))
    drawn = [mixer.draw() for _ in range(60)]
    assert {word for example in drawn for word in example.words} == {"one", "two", "yes"}
    assert any(not example.words for example in drawn)
    assert max(len(example.words) for example in drawn) <= config.mixing.longest
    assert {name for example in drawn for name in example.speakers} <= {"her", "him", "robot"}
    for example in drawn:
        places = [place for span in example.spans for place in (span.first, span.end)]
        assert places == sorted(places)
        assert 0 <= places[0] < places[-1] <= len(example.wave)
    assert recorded or all("her" not in example.speakers for example in drawn)


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_what_is_heard_comes_back_and_is_padded(recipe: SimpleNamespace, tmp_path: Path) -> None:
    rng, make, span = np.random.default_rng(0), recipe.features.Heard, recipe.mixing.Span
    heard = [
        make(rng.normal(size=(frames, 8)).astype(np.float16), spans, ("her",))
        for frames, spans in (
            (5, (span(0, 900, "two"), span(1000, 1900, "one"))),
            (3, (span(10, 900, ""),)),
            (9, (span(0, 3000, "yes"),)),
        )
    ]
    recipe.features.save(heard, tmp_path / "heard.npz")
    found = recipe.features.load(tmp_path / "heard.npz")
    assert [(one.spans, one.speakers) for one in found] == [(one.spans, one.speakers) for one in heard]
    batch = recipe.batches.collate(found, ("<blank>", "one", "two", "yes", "<other>"))
    assert batch.states.shape == (3, 32, 8)
    assert batch.mask.sum(1).flatten().tolist() == [5, 3, 9]
    assert batch.allowed.shape == (3, 16, 5)
    assert [int(row.all(1).sum()) for row in batch.allowed] == [13, 14, 11]
    assert recipe.batches.hide(batch.states, rng).shape == (3, 32, 8)


TOKENS = ("<blank>", "one", "two", "<other>")


@given(
    lengths=st.lists(st.tuples(st.integers(1500, 12_000), st.sampled_from(["one", "two", ""])), min_size=1, max_size=5),
    gaps=st.lists(st.integers(0, 6000), min_size=6, max_size=6),
)
@settings(deadline=None)
def test_each_frame_has_its_tokens(recipe: SimpleNamespace, lengths: list[tuple[int, str]], gaps: list[int]) -> None:
    spans, at = [], gaps[-1]
    for (length, word), gap in zip(lengths, gaps, strict=False):
        spans.append(recipe.mixing.Span(at, at + length, word))
        at += length + gap
    frames = (at + 2 * 4608) // 768
    found = recipe.targets.allowed(spans, frames, TOKENS)
    assert found.any(axis=1).all()
    heard = recipe.targets.centres(frames)
    quiet = np.all([(heard < span.first - 800) | (heard > span.end + 800) for span in spans], axis=0)
    assert (found[quiet] == [True, False, False, False]).all()
    for before, after in pairwise(spans):
        between = (heard > before.first) & (heard < after.end)
        assert (found[between] == [True, False, False, False]).all(axis=1).any()
    for span in spans:
        mine = (heard > span.first) & (heard < span.end)
        assert found[mine][:, TOKENS.index(span.word or "<other>")].any()


def test_training_tells_words_apart(recipe: SimpleNamespace) -> None:
    """States that say what is heard, in a dimension each: what is told is what was said."""
    config, rng = recipe.config.load_config(RECIPE / "config.yaml"), np.random.default_rng(0)
    quick = config.training.model_copy(update={"steps": 240, "batch": 8, "average": 0.9})
    config = config.model_copy(update={"training": quick})
    words = ("one", "two", "")
    said = [[words[n] for n in rng.integers(0, 3, 2)] for _ in range(80)]
    heard = [spoken(recipe, pair, rng) for pair in said]
    network = recipe.trainer.train(config, heard, rng)
    form = described(recipe.bundle.settings(config))
    trunk = SimpleNamespace(states=lambda states: states)
    spotter = recipe.scoring.Spotter(trunk, network, form)
    fresh = [spoken(recipe, pair, rng) for pair in said[:20]]
    right = [spotter.written(one.states.astype(np.float32)) == [s.word for s in one.spans if s.word] for one in fresh]
    assert sum(right) >= 17


def spoken(recipe: SimpleNamespace, words: list[str], rng: np.random.Generator) -> object:
    """A third of a second for each, and as much silence around and between."""
    states = rng.normal(0, 0.3, (70, 288))
    spans = [recipe.mixing.Span(5000 + n * 10_000, 10_000 + n * 10_000, word) for n, word in enumerate(words)]
    for span in spans:
        first, end = (round((place + 4608) / 384) for place in (span.first, span.end))
        states[first:end, ("one", "two", "").index(span.word) * 90 :][:, :90] += 1
    return recipe.features.Heard(states.astype(np.float16), tuple(spans), ("her",))


def test_clips_come_back_as_they_were_kept(recipe: SimpleNamespace, tmp_path: Path) -> None:
    kept = bank(recipe).digits + bank(recipe).words + bank(recipe).others
    recipe.clips.save(kept, tmp_path / "clips.npz")
    found = recipe.clips.load(tmp_path / "clips.npz")
    assert [(one.words, one.speaker) for one in found] == [(one.words, one.speaker) for one in kept]
    assert all((one.samples == other.samples).all() for one, other in zip(found, kept, strict=True))


def test_synthesizers_say_words(recipe: SimpleNamespace) -> None:
    if not recipe.synthesis.is_installed():
        pytest.skip("needs espeak-ng and flite")
    import random

    for voice in recipe.synthesis.voices(6, random.Random(0)):
        wave = recipe.synthesis.say("seven", voice)
        assert 0.2 < len(wave) / 16_000 < 2
        assert np.abs(wave).max() > 0.05


def test_the_bundled_weights_know_the_digits_they_learned(recipe: SimpleNamespace) -> None:
    network, kept = load(WEIGHTS / "digits-commands")
    config = recipe.config.load_config(RECIPE / "config.yaml")
    assert kept == recipe.bundle.settings(config)
    folder, read = recordings("fsdd"), recipe.clips.read_audio
    examples = [
        recipe.scoring.said(read(folder / f"{digit}_{speaker}_7.flac"), [config.words[digit]])
        for digit in range(10)
        for speaker in ("george", "theo", "nicolas")
    ]
    trunk = recipe.features.Trunk(fetch(Source(uri="pypi:moonshine-voice/moonshine_voice/assets/tiny-en")))
    assert recipe.scoring.Spotter(trunk, network, described(kept)).word_error_rate(examples) <= 0.04
