"""Choosing tokens, against references that sort everything and against transformers' own processors."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from services.core.errors import Code, ServingError
from services.core.generation.records import Row, SamplingParams
from services.core.generation.sampling import Sampler, inverse

GREEDY = SamplingParams(temperature=0)


def row_of(*logits: float) -> Row:
    return np.array(logits, np.float32)


def random_row(size: int, seed: int = 0, spread: float = 3.0) -> Row:
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def choose(row: Row, times: int = 1, prompt: tuple[int, ...] = (), **params: Any) -> list[int]:
    sampler = Sampler(SamplingParams(**params), prompt, row.size)
    return [sampler.choose(row.copy()).id for _ in range(times)]


def reference(row: Row, params: SamplingParams) -> dict[int, float]:
    """Tokens that may come with their probabilities, the long way."""
    logits = row.astype(np.float64) / params.temperature
    weights = dict(enumerate(np.exp(logits - logits.max())))
    best = sorted((one for one in weights if weights[one] > 0), key=lambda one: -weights[one])
    best = best[: params.top_k or None]
    total, reached, kept = sum(weights[one] for one in best), 0.0, []
    for one in best:
        if params.top_p < 1 and reached >= params.top_p * total:
            break
        kept.append(one)
        reached += weights[one]
    kept = [one for one in kept if weights[one] >= params.min_p * weights[best[0]]]
    left = sum(weights[one] for one in kept)
    return {one: weights[one] / left for one in kept}


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-50, 50, width=32)))
def test_greedy_takes_the_first_of_the_highest(row: Row) -> None:
    assert choose(row, temperature=0) == choose(row, top_k=1) == [int(row.argmax())]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.5),
        SamplingParams(temperature=2, top_k=5),
        SamplingParams(top_p=0.7),
        SamplingParams(min_p=0.1),
        SamplingParams(temperature=1.5, top_k=8, top_p=0.8, min_p=0.05),
    ],
)
def test_draws_are_of_the_right_tokens_as_often_as_they_should_be(params: SamplingParams) -> None:
    row, times = random_row(20, spread=1.0), 10_000
    sampler = Sampler(SamplingParams(**{**fields(params), "seed": 3}), (), row.size)
    drawn = Counter(sampler.choose(row.copy()).id for _ in range(times))
    expected = reference(row, params)
    assert set(drawn) <= set(expected)
    for token, probability in expected.items():  # 5 standard deviations
        assert drawn[token] / times == pytest.approx(probability, abs=5 * math.sqrt(probability / times))


def fields(params: SamplingParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in SamplingParams.__slots__}


@pytest.mark.parametrize("size", [30, 10_000])
@pytest.mark.parametrize("spread", [0.5, 4.0])
@settings(max_examples=40)
@given(
    top_k=st.sampled_from([0, 2, 7, 10**6]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.99, 1.0]),
    min_p=st.sampled_from([0.0, 0.02, 0.9]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_whatever_is_drawn_is_among_those_that_may_come(size: int, spread: float, uniform: float, **given: Any) -> None:
    row, params = random_row(size, spread=spread), SamplingParams(**given)
    expected = reference(row, params)
    sampler = Sampler(params, (), size)
    sampler._random = Fixed(uniform)  # type: ignore[assignment]
    token = sampler.choose(row.copy()).id
    # Float32 sums may put the border of a nucleus of thousands one token further.
    assert token in expected or row[token] >= min(row[one] for one in expected) - 1e-3


class Fixed:
    def __init__(self, uniform: float) -> None:
        self._uniform = uniform

    def random(self) -> float:
        return self._uniform


@pytest.mark.parametrize("params", [{"top_p": 0.8}, {"top_p": 0.3}, {"top_k": 6}, {"top_k": 9, "top_p": 0.5}])
def test_every_token_that_may_come_does(params: dict[str, Any]) -> None:
    row = random_row(16, spread=1.0)
    assert set(choose(row, 5_000, seed=1, **params)) == set(reference(row, SamplingParams(**params)))


def test_the_nucleus_is_that_of_transformers() -> None:
    row = random_row(40, spread=1.0)
    kept = processed(TopPLogitsWarper(0.8), row)
    assert set(choose(row, 20_000, seed=1, top_p=0.8)) == set(np.flatnonzero(np.isfinite(kept)).tolist())


def processed(processor: LogitsProcessor, row: Row, ids: tuple[int, ...] = (0,)) -> Row:
    found: Row = processor(torch.tensor([ids]), torch.from_numpy(row.copy())[None])[0].numpy()
    return found


def test_the_repetition_penalty_is_that_of_transformers_for_prompt_and_output() -> None:
    row, prompt = random_row(12), (3, 5, 5, 7)
    sampler = Sampler(SamplingParams(temperature=0, repetition_penalty=1.7), prompt, 12)
    came: tuple[int, ...] = ()
    for _ in range(12):
        expected = processed(RepetitionPenaltyLogitsProcessor(1.7), row, prompt + came)
        changed = row.copy()
        came += (sampler.choose(changed).id,)
        np.testing.assert_allclose(changed, expected, rtol=1e-6)


@given(st.lists(st.integers(0, 5), max_size=20), st.floats(-2, 2), st.floats(-2, 2))
def test_presence_and_frequency_penalties_count_the_output_only(
    came: list[int], presence: float, frequency: float
) -> None:
    params = SamplingParams(temperature=0, presence_penalty=presence, frequency_penalty=frequency)
    sampler = Sampler(params, (0, 1), 6)
    for token in came:
        forced = np.full(6, -np.inf, np.float32)
        forced[token] = 0
        sampler.choose(forced)
    row = random_row(6)
    changed = row.copy()
    sampler.choose(changed)
    expected = [row[one] - (came.count(one) > 0) * presence - came.count(one) * frequency for one in range(6)]
    np.testing.assert_allclose(changed, expected, atol=1e-4)


def test_biases_are_added_before_all_else() -> None:
    assert choose(row_of(1, 2, 3), temperature=0, logit_bias={0: 5.0, 2: -100.0}) == [0]
    assert set(choose(row_of(0, 0, 0), 100, logit_bias={1: -100.0})) == {0, 2}


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1, -(2**63)])
def test_a_seed_repeats_its_tokens(seed: int) -> None:
    row = random_row(1000)
    assert choose(row, 20, seed=seed) == choose(row, 20, seed=seed)
    assert choose(row, 20, seed=seed) != choose(row, 20, seed=seed + 1)


def test_without_a_seed_tokens_differ() -> None:
    assert choose(random_row(1000), 20) != choose(random_row(1000), 20)


def test_log_probabilities_are_the_models_own() -> None:
    row = random_row(50)
    expected = torch.log_softmax(torch.from_numpy(row), -1).numpy()
    params = SamplingParams(temperature=2, logit_bias={4: 100.0}, repetition_penalty=2, logprobs=3)
    token = Sampler(params, (1, 2), 50).choose(row.copy())
    assert token.id == 4
    assert token.logprob == pytest.approx(expected[4], abs=1e-5)
    assert [one for one, _ in token.top] == np.argsort(-row)[:3].tolist()
    assert [logprob for _, logprob in token.top] == pytest.approx(np.sort(expected)[::-1][:3], abs=1e-5)


@pytest.mark.parametrize(("logprobs", "told"), [(None, 0), (0, 0), (1, 1), (20, 2)])
def test_only_as_many_alternatives_as_asked_for_and_possible(logprobs: int | None, told: int) -> None:
    token = Sampler(SamplingParams(temperature=0, logprobs=logprobs), (), 3).choose(row_of(1, -math.inf, 0))
    assert len(token.top) == told
    assert (token.logprob is None) == (logprobs is None)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("row", "why"),
    [
        (row_of(0, math.nan, 1), "no numbers"),
        (row_of(0, math.inf, 1), "no numbers"),
        (row_of(-math.inf, -math.inf), "may follow"),
    ],
)
def test_unusable_logits_are_told(row: Row, why: str, temperature: float) -> None:
    with pytest.raises(ServingError, match=why) as caught:
        choose(row, temperature=temperature)
    assert caught.value.code is Code.INTERNAL


@pytest.mark.parametrize("params", [{}, {"top_p": 0.999}, {"top_k": 4}, {"min_p": 0.001}, {"temperature": 1e-4}])
def test_what_is_ruled_out_never_comes(params: dict[str, Any]) -> None:
    row = row_of(-math.inf, 1e30, -math.inf, 1e30, -1e30, -math.inf)
    assert set(choose(row, 200, **params)) == {1, 3}


@given(
    arrays.arrays(np.float32, st.integers(1, 1500), elements=st.sampled_from([0, 0.25, 1])).filter(np.any),
    st.floats(0, 1, exclude_max=True),
)
def test_a_draw_is_where_the_share_of_weight_is_reached(weights: Row, uniform: float) -> None:
    found = inverse(weights, uniform)
    assert weights[found] > 0
    wanted = uniform * float(weights.sum())
    assert float(weights[:found].sum()) <= wanted < float(weights[: found + 1].sum())
