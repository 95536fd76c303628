"""The recipe ``digits-commands``: what it does to sound, what it mixes, and the weights it made."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export.bundled_ctc.checkpoint import load
from models.sources import RECIPES, WEIGHTS, fetch
from services.core.catalog import Source

RECIPE = RECIPES / "digits-commands"
SPEECH = Path(__file__).parents[3] / "shared" / "data" / "speech"
MODULES = (
    "augmentation",
    "bank",
    "batches",
    "clips",
    "config",
    "features",
    "mixing",
    "scoring",
    "synthesis",
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
        words=[said("one", "robot"), said("yes", "robot")],
        phrases=[said("two yes", "robot")],
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
    assert recorded or all("her" not in example.speakers for example in drawn)


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_what_is_heard_comes_back_and_is_padded(recipe: SimpleNamespace, tmp_path: Path) -> None:
    rng, make = np.random.default_rng(0), recipe.features.Heard
    heard = [
        make(rng.normal(size=(frames, 8)).astype(np.float16), words, ("her",))
        for frames, words in ((5, ("two", "one")), (3, ()), (9, ("yes",)))
    ]
    recipe.features.save(heard, tmp_path / "heard.npz")
    found = recipe.features.load(tmp_path / "heard.npz")
    assert [(one.words, one.speakers) for one in found] == [(one.words, one.speakers) for one in heard]
    batch = recipe.batches.collate(found, ("one", "two", "yes"))
    assert batch.states.shape == (3, 32, 8)
    assert batch.mask.sum(1).flatten().tolist() == [5, 3, 9]
    assert batch.frames.tolist() == [3, 2, 5]
    assert batch.tokens.tolist() == [2, 1, 3]
    assert batch.counts.tolist() == [2, 0, 1]
    assert recipe.batches.hide(batch.states, rng).shape == (3, 32, 8)


def test_clips_come_back_as_they_were_kept(recipe: SimpleNamespace, tmp_path: Path) -> None:
    kept = bank(recipe).digits + bank(recipe).phrases + bank(recipe).others
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


@pytest.mark.skipif(not (SPEECH / "fsdd").is_dir(), reason="needs FSDD, which is not ours to ship")
def test_the_bundled_weights_know_the_digits_they_learned(recipe: SimpleNamespace) -> None:
    network, described = load(WEIGHTS / "digits-commands")
    words = described.tokens[1:]
    assert words == recipe.config.load_config(RECIPE / "config.yaml").words
    examples = [
        recipe.mixing.Example(recipe.clips.read_audio(SPEECH / "fsdd" / f"{digit}_{speaker}_7.flac"), (words[digit],))
        for digit in range(10)
        for speaker in ("george", "theo", "nicolas")
    ]
    trunk = recipe.features.Trunk(fetch(Source(uri="pypi:moonshine-voice/moonshine_voice/assets/tiny-en")))
    assert recipe.scoring.Spotter(trunk, network, words).word_error_rate(examples) <= 0.05
