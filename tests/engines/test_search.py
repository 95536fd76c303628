"""The search over decoders made of numbers, beside plain loops that need no explanation."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.core.engine import Decoding, Hypothesis
from services.engines.search import search

VOCABULARY, SOURCE, END = 7, 3, 0


class Chain:
    """Chances of a token depend on the item and on the last two tokens; it fails if rows are mixed up."""

    def __init__(self, seeds: Sequence[int], sharpness: float = 2.0) -> None:
        tables = [np.random.default_rng(seed).normal(size=(VOCABULARY, VOCABULARY, VOCABULARY)) for seed in seeds]
        logits = sharpness * np.array(tables)
        self.chances = (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)
        self.items = np.arange(len(seeds))
        self.past = np.zeros((len(seeds), 2), np.int64)
        self.rows_seen: list[int] = []

    def step(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert len(tokens) == len(self.items)
        self.rows_seen.append(len(tokens))
        self.past = np.stack([self.past[:, 1], tokens], axis=1)
        weights = np.zeros((len(tokens), SOURCE), np.float32)
        weights[np.arange(len(tokens)), tokens % SOURCE] = 1
        return self.chances[self.items, self.past[:, 0], self.past[:, 1]].copy(), weights

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.items, self.past = self.items[rows], self.past[rows]


def run(seeds: Sequence[int], limits: Sequence[int], **decoding: int | bool) -> list[tuple[Hypothesis, ...]]:
    openings = np.array([[1 + seed % 3, 2] for seed in seeds])
    return search(Chain(seeds), openings, limits, END, Decoding(**decoding))  # type: ignore[arg-type]


def greedily(seed: int, limit: int) -> tuple[list[int], float, bool]:
    chances, past, tokens, total = Chain([seed]).chances[0], (1 + seed % 3, 2), [], 0.0
    while True:
        best = int(chances[past].argmax())
        if best != END and len(tokens) == limit:
            return tokens, total / len(tokens), False
        total += float(chances[past][best])
        if best == END:
            return tokens, total / (len(tokens) + 1), True
        tokens.append(best)
        past = (past[1], best)


items = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 9)), min_size=1, max_size=6)
some = settings(max_examples=100)


@some
@given(batch=items)
def test_a_beam_of_one_takes_the_most_probable_token_each_time(batch: list[tuple[int, int]]) -> None:
    for (found,), (seed, limit) in zip(run(*zip(*batch, strict=True)), batch, strict=True):
        tokens, score, finished = greedily(seed, limit)
        assert (list(found.tokens), found.finished) == (tokens, finished)
        assert found.score == pytest.approx(score, abs=1e-5)
        assert found.attention is None


@some
@given(batch=items, beams=st.integers(1, 5))
def test_an_items_answers_do_not_depend_on_its_company(batch: list[tuple[int, int]], beams: int) -> None:
    together = run(*zip(*batch, strict=True), beam_size=beams, hypotheses=beams)
    alone = [run([seed], [limit], beam_size=beams, hypotheses=beams)[0] for seed, limit in batch]
    assert together == alone


@some
@given(batch=items, beams=st.integers(1, 5), count=st.integers(1, 5))
def test_hypotheses_are_distinct_best_first_and_worth_what_they_say(
    batch: list[tuple[int, int]], beams: int, count: int
) -> None:
    found = run(*zip(*batch, strict=True), beam_size=beams, hypotheses=min(beams, count))
    for several, (seed, limit) in zip(found, batch, strict=True):
        assert 1 <= len({one.tokens for one in several}) == len(several) <= min(beams, count)
        assert [one.score for one in several] == sorted((one.score for one in several), reverse=True)
        for one in several:
            assert len(one.tokens) <= limit
            assert one.score == pytest.approx(worth(seed, one), abs=1e-5)


def worth(seed: int, found: Hypothesis) -> float:
    chances, past = Chain([seed]).chances[0], (1 + seed % 3, 2)
    each = []
    for token in (*found.tokens, *([END] if found.finished else [])):
        each.append(float(chances[past][token]))
        past = (past[1], token)
    return float(np.mean(each)) if each else 0.0


@some
@given(seed=st.integers(0, 500), limit=st.integers(1, 4))
def test_a_beam_wide_enough_finds_the_most_probable_target_of_its_length(seed: int, limit: int) -> None:
    (several,) = run([seed], [limit], beam_size=VOCABULARY**limit, hypotheses=1)
    best = max((total(seed, tokens) for tokens in targets(limit)), key=lambda pair: pair[0])
    assert several[0].score >= worth(seed, Hypothesis(best[1], 0.0, finished=True)) - 1e-5


def targets(limit: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for _ in range(limit - 1):
        found += [(*one, token) for one in found for token in range(1, VOCABULARY)]
    return list(dict.fromkeys(found))


def total(seed: int, tokens: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
    return worth(seed, Hypothesis(tokens, 0.0, finished=True)), tokens


@some
@given(batch=items, length=st.integers(1, 3), beams=st.integers(1, 3))
def test_nothing_is_repeated_if_so_asked(batch: list[tuple[int, int]], length: int, beams: int) -> None:
    for several in run(*zip(*batch, strict=True), no_repeat_ngram=length, beam_size=beams, hypotheses=beams):
        for one in several:
            grams = [one.tokens[start : start + length] for start in range(len(one.tokens) - length + 1)]
            assert len(set(grams)) == len(grams)


@some
@given(batch=items, beams=st.integers(1, 3))
def test_each_token_has_the_weights_of_the_step_that_chose_it(batch: list[tuple[int, int]], beams: int) -> None:
    for several in run(*zip(*batch, strict=True), attention=True, beam_size=beams, hypotheses=beams):
        for one in several:
            assert one.attention is not None
            assert one.attention.dtype == np.float32
            assert one.attention.shape == (len(one.tokens), SOURCE)
            given = (2, *one.tokens)[: len(one.tokens)]
            assert [int(row.argmax()) for row in one.attention] == [token % SOURCE for token in given]


def test_an_item_that_is_done_costs_nothing_any_more() -> None:
    decoder = Chain([3, 4, 5])
    search(decoder, np.array([[1, 2]] * 3), [1, 4, 8], END, Decoding())
    assert decoder.rows_seen[:2] == [3, 3]
    assert decoder.rows_seen == sorted(decoder.rows_seen, reverse=True)
    assert decoder.rows_seen[-1] < 3
