"""Loops, alignment and pauses by themselves."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.audio import SPEECH_RATE
from services.core.speech import Word
from services.engines.moonshine.alignment import forward_path, starts
from services.engines.moonshine.pauses import between, pauses
from services.engines.moonshine.repeats import looping


@pytest.mark.parametrize(
    ("tokens", "repeated"),
    [
        ([], 0),
        ([7] * 11, 0),
        ([7] * 12, 11),
        ([1, 2] * 5, 0),
        ([1, 2] * 6, 10),
        ([9, 9, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4], 8),
        ([1, 2, 3, 4, 1, 2, 3, 4], 0),
        ([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 5], 0),
    ],
)
def test_a_circle_is_long_and_comes_three_times(tokens: list[int], repeated: int) -> None:
    assert looping(tokens) == repeated


@given(st.lists(st.integers(0, 3), max_size=40))
def test_what_is_cut_only_repeats(tokens: list[int]) -> None:
    if repeated := looping(tokens):
        kept = tokens[:-repeated]
        unit = min(
            length for length in range(1, len(kept) + 1) if tokens[-repeated:] == (kept[-length:] * 40)[:repeated]
        )
        assert repeated % unit == 0
        assert repeated + unit >= 12


def best_sum(weights: np.ndarray) -> float:
    """Of all paths, by trying each."""
    rows, columns = weights.shape
    if rows == 1:
        return float(weights.sum())
    firsts = range(1, columns - rows + 2)
    return max(float(weights[0, :first].sum()) + best_sum(weights[1:, first:]) for first in firsts)


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_the_path_is_the_best_of_all(rows: int, more: int, seed: int) -> None:
    weights = np.random.default_rng(seed).random((rows, rows + more)).astype(np.float32)
    path = [*forward_path(weights), rows + more]
    assert path[0] == 0
    found = sum(float(weights[row, path[row] : path[row + 1]].sum()) for row in range(rows))
    assert found == pytest.approx(best_sum(weights), abs=1e-5)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1))
def test_starts_go_forward_and_stay_inside(tokens: int, frames: int, seconds: float) -> None:
    found = starts(list(np.ones((tokens, frames), np.float32)), seconds)
    assert len(found) == tokens + 1
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] == seconds


def test_words_do_not_reach_into_pauses() -> None:
    loud = np.random.default_rng(0).normal(0, 0.1, SPEECH_RATE).astype(np.float32)
    hush = np.zeros(SPEECH_RATE // 2, np.float32)
    spans = pauses(np.concatenate([hush, loud, hush, loud]))
    assert spans == [(0, 0.5), (1.5, 2.0)]
    words = [Word("one", 0, 0.9, 1), Word("two", 0.9, 2.1, 1), Word("three", 2.1, 3, 1)]
    assert [(word.start, word.end) for word in between(words, spans)] == [(0.5, 0.9), (0.9, 1.5), (2.0, 3)]


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(159), np.zeros(1600), np.ones(1600)])
def test_utterances_without_pauses_or_speech(samples: np.ndarray) -> None:
    assert pauses(samples.astype(np.float32)) == []
    assert between([], [(0.0, 1.0)]) == ()


gaps = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(gaps, st.lists(st.tuples(st.floats(0, 6), st.floats(0, 1)), max_size=4))
def test_words_stay_in_order_whatever_the_pauses(lengths: list[float], found: list[tuple[float, float]]) -> None:
    edges = [0.0, *np.cumsum(lengths).tolist()]
    words = [Word("a", start, end, 1) for start, end in pairwise(edges)]
    spans = [(start, start + length) for start, length in sorted(found)]
    times = [time for word in between(words, spans) for time in (word.start, word.end)]
    assert times == sorted(times)
