"""Where stretches begin and end, from probabilities alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.asr.voice.endpoints import Endpointing, Endpoints, Span

FRAME = 0.032
RULE = Endpointing(silence=0.32, before=0.096, after=0.096, shortest=0.064, longest=4.0)
SILENCE, BEFORE, AFTER = 10, 3, 3


def spans(probabilities: list[float], rule: Endpointing = RULE) -> list[Span]:
    endpoints = Endpoints(rule, FRAME)
    found = [endpoints.feed(probability) for probability in probabilities]
    return [span for span in [*found, endpoints.flush()] if span]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([], []),
        ([0.0] * 50, []),
        ([0.4] * 50, []),  # never surely speech
        ([0.0] * 20 + [1.0] * 10 + [0.0] * 30, [Span(17, 33)]),
        ([1.0] * 10 + [0.0] * 30, [Span(0, 13)]),
        ([0.0] * 20 + [1.0] * 10, [Span(17, 30)]),  # the sound ends in it
        ([0.0] * 20 + [1.0] + [0.0] * 30, []),  # a click
        ([0.0] * 20 + [1.0] * 5 + [0.0] * 9 + [1.0] * 5 + [0.0] * 30, [Span(17, 42)]),  # a short pause
        ([0.0] * 20 + [1.0] * 5 + [0.4] * 40 + [0.0] * 30, [Span(17, 68)]),  # between the thresholds it goes on
        ([1.0] * 10 + [0.0] * 10 + [1.0] * 10 + [0.0] * 10, [Span(0, 13), Span(17, 33)]),
    ],
)
def test_stretches(probabilities: list[float], expected: list[Span]) -> None:
    assert spans(probabilities) == expected


def test_a_long_one_is_cut_where_speech_was_least_likely() -> None:
    probabilities = [1.0] * 100 + [0.6] + [1.0] * 99 + [0.0] * 20
    assert spans(probabilities)[0] == Span(0, 101)
    assert spans(probabilities)[1].start == 101


probability = st.floats(0, 1, width=32)
runs = st.lists(st.tuples(probability, st.integers(1, 40)), max_size=30)


@given(runs)
def test_none_overlap_and_none_is_too_long(pairs: list[tuple[float, int]]) -> None:
    probabilities = [value for value, count in pairs for _ in range(count)]
    found = spans(probabilities)
    for one, other in itertools.pairwise(found):
        assert one.end <= other.start
    for span in found:
        assert 0 <= span.start < span.end <= len(probabilities)
        assert span.end - span.start <= RULE.longest / FRAME


@given(runs)
def test_all_that_is_long_and_surely_speech_is_in_one(pairs: list[tuple[float, int]]) -> None:
    probabilities = [value for value, count in pairs for _ in range(count)]
    found, at = spans(probabilities), 0
    covered = {frame for span in found for frame in range(span.start, span.end)}
    for value, count in pairs:
        if value >= RULE.threshold and count >= 2:
            assert set(range(at, at + count)) <= covered
        at += count


@given(runs)
def test_what_seems_over_ends_so_if_nothing_more_is_said(pairs: list[tuple[float, int]]) -> None:
    endpoints = Endpoints(RULE, FRAME)
    for value, count in pairs:
        for _ in range(count):
            endpoints.feed(value)
    settled, start = endpoints.settled, endpoints.start
    if settled is None:
        return
    ended = next(span for _ in range(SILENCE) if (span := endpoints.feed(0.0)))
    assert ended == Span(start, settled)
