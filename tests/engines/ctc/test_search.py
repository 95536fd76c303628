"""Searches against all alignments that there are, and what language models and hot words change in them."""

from collections import defaultdict
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.engines.ctc.alignment import align
from services.engines.ctc.beam import PrefixSearch, Width
from services.engines.ctc.format import CtcFormat, LanguageModelSettings
from services.engines.ctc.greedy import best_path
from services.engines.ctc.hot_words import HotWords
from services.engines.ctc.lexicon import Lexicon
from services.engines.ctc.ngrams import NGrams
from services.engines.ctc.posteriors import Floats, Posteriors, posteriors
from services.engines.ctc.scoring import Both, Language, LanguageScorer, NothingAdded
from services.engines.ctc.vocabulary import Labels, Vocabulary
from tests.engines.ctc.models import BIGRAMS, spelling

LETTERS = CtcFormat(tokens=("-", "|", "a", "b"), blank=0, delimiter=1, frame_seconds=0.02, languages=("en",))
WORDS = CtcFormat(tokens=("one", "two", "-", "<x>"), blank=2, silent=(3,), frame_seconds=0.02, languages=("en",))
ALL = Width(10_000, floor=-np.inf, margin=np.inf)


def heard(form: CtcFormat, frames: int, seed: int, sharpness: float = 2.0) -> Posteriors:
    logits = np.random.default_rng(seed).normal(size=(frames, len(form.tokens))) * sharpness
    return posteriors(logits.astype(np.float32), form)


def every_text(form: CtcFormat, chances: Floats) -> dict[Labels, float]:
    """Natural log probability of each text, by adding up all paths."""
    vocabulary, found = Vocabulary(form), defaultdict[Labels, float](lambda: -np.inf)
    usable = [token for token in range(len(form.tokens)) if token not in form.silent]
    for path in product(usable, repeat=len(chances)):
        tokens = [token for token, _ in groupby(path) if token != form.blank]
        labels = vocabulary.labels(tokens)
        chance = sum(row[token] for row, token in zip(chances, path, strict=True))
        found[labels] = float(np.logaddexp(found[labels], chance))
    return found


@pytest.mark.parametrize("form", [LETTERS, WORDS], ids=["letters", "words"])
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_a_wide_beam_finds_every_text_with_its_exact_probability(form: CtcFormat, frames: int, seed: int) -> None:
    chances = heard(form, frames, seed).chances
    expected = every_text(form, chances)
    found = PrefixSearch(form.blank, form.delimiter, NothingAdded(len(form.tokens)), ALL).texts(chances)
    assert {text.labels for text in found} == set(expected)
    for text in found:
        assert text.chance == pytest.approx(expected[text.labels], abs=1e-9)
        assert text.score == text.chance
    assert [text.score for text in found] == sorted((text.score for text in found), reverse=True)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_the_best_path_is_the_greedy_one_and_alignment_finds_it(frames: int, seed: int) -> None:
    sound = heard(LETTERS, frames, seed, 4.0)
    text = best_path(sound, 0, Vocabulary(LETTERS))
    said = align(sound.chances, text.labels, 0, 1)
    for label, token in zip(text.labels, said, strict=True):
        assert (sound.path[token.first : token.last + 1] == label).all()
    assert [token.first for token in said] == sorted({token.first for token in said})
    assert all(token.first <= token.last and token.chance <= 0 for token in said)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 30), seed=st.integers(0, 10_000), beam=st.sampled_from([1, 4, 16]))
def test_no_beam_claims_more_than_there_is(frames: int, seed: int, beam: int) -> None:
    chances = heard(LETTERS, frames, seed).chances
    found = PrefixSearch(0, 1, NothingAdded(4), Width(beam)).texts(chances)
    assert 1 <= len(found) <= beam
    assert len({text.labels for text in found}) == len(found)
    assert np.logaddexp.reduce([text.chance for text in found]) <= 1e-9
