"""Sequences in company say what they say alone, whatever comes, goes, fails or runs short; and nothing stays behind."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.adapters import Adapter
from services.core.catalog import BatchPolicy, GenerationPolicy
from services.core.context import Priority
from services.core.engine import Chunk, GeneratorLimits, Logits
from services.core.errors import Code, ServingError
from services.core.generation.continuous import ContinuousBatcher
from services.core.generation.records import Generation, Row, SamplingParams, Token
from services.core.queueing import Item
from services.engines.fake_lm import FakeGenerator

PATIENCE = 30
GREEDY = SamplingParams(temperature=0.0)
ADAPTERS = [None, *(Adapter("base@1", name, "1", name, Path(), 8) for name in ("red", "blue"))]


class Ids:
    """Tells every id; ends at multiples of 7, if told to."""

    def __init__(self, cached: int, *, ends: bool) -> None:
        self.cached = cached
        self.finished = False
        self._ends = ends

    def read(self, token: Token) -> int:
        self.finished = self._ends and token.id % 7 == 0
        return token.id

    def cut(self) -> None:
        return None


def generation(
    prompt: Sequence[int], max_tokens: int = 8, adapter: Adapter | None = None, *, ends: bool = False, **fields: Any
) -> Item:
    reader = fields.pop("reader", lambda cached: Ids(cached, ends=ends))
    work = Generation(tuple(prompt), max_tokens, fields.pop("sampling", GREEDY), reader, adapter=adapter, **fields)
    return Item(work, len(prompt) + max_tokens)


def limits(sequences: int = 4, blocks: int = 16, block_tokens: int = 4) -> GeneratorLimits:
    return GeneratorLimits(blocks * block_tokens, 300, sequences, blocks, block_tokens)


@contextmanager
def generating(
    engine: FakeGenerator, policy: BatchPolicy | None = None, step_tokens: int = 16
) -> Iterator[ContinuousBatcher]:
    batcher = ContinuousBatcher()
    batcher.register("k", engine, policy or BatchPolicy(), GenerationPolicy(step_tokens=step_tokens))
    try:
        yield batcher
    finally:
        batcher.close()


def later(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


def alone(item: Item) -> list[int]:
    """What a sequence is without company: the engine's own words, all tokens computed at once."""
    work: Generation = item.payload
    engine = FakeGenerator(limits(blocks=64))
    tokens = list(work.prompt)
    reader = work.reader(0)
    while len(tokens) < len(work.prompt) + work.max_tokens and not reader.finished:
        (row,) = engine.step([Chunk(0, tokens, 0, range(64), work.adapter, ends=True)])
        tokens.append(int(row.argmax()))
        reader.read(Token(tokens[-1]))
    return tokens[len(work.prompt) :]


def said(outputs: Sequence[Any]) -> list[int]:
    return [output for output in outputs if output is not None]


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=24)
items = st.builds(
    lambda prompt, most, adapter, ends: generation(prompt, most, adapter, ends=ends),
    prompts,
    st.integers(1, 20),
    st.sampled_from(ADAPTERS),
    st.booleans(),
)


@settings(max_examples=60)
@given(
    st.lists(items, min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(11, 30),
    st.sampled_from([1, 2, 7, 64]),
    st.sets(st.integers(0, 11)),
)
async def test_in_company_as_alone(
    given_items: list[Item], sequences: int, blocks: int, step_tokens: int, leaving: set[int]
) -> None:
    engine = Slow(limits(sequences, blocks))

    async def one(number: int, item: Item) -> list[int]:
        told: list[Any] = []
        async with aclosing(batcher.stream("k", [item], later(), Priority(number % 3))) as outputs:
            async for _, output in outputs:
                told.append(output)
                if number in leaving and len(told) == 2:
                    break
        return said(told)

    with generating(engine, step_tokens=step_tokens) as batcher:
        found = await asyncio.gather(*(one(number, item) for number, item in enumerate(given_items)))
        await settled(batcher)
    for number, (item, told) in enumerate(zip(given_items, found, strict=True)):
        assert told == (alone(item)[:2] if number in leaving else alone(item))
    assert not engine.live


class Slow(FakeGenerator):
    """Adapters are ready now and then."""

    asked = 0

    def ready(self, adapter: Adapter) -> bool:
        self.asked += 1
        return self.asked % 3 == 0


async def settled(batcher: ContinuousBatcher) -> None:
    """Until nothing runs and nothing is held."""
    async with asyncio.timeout(PATIENCE):
        while batcher.running("k") or batcher.waiting or batcher.blocks("k"):
            await asyncio.sleep(0.001)


async def test_a_thousand_cancelled_streams_leave_nothing() -> None:
    engine = FakeGenerator(limits(blocks=32))

    async def cancelled(number: int) -> None:
        async with aclosing(batcher.stream("k", [generation([number % 5] * 9, 20)], later())) as outputs:
            for _ in range(number % 3):
                await anext(outputs)

    tasks = len(asyncio.all_tasks())
    with generating(engine, BatchPolicy(queue_items=2000)) as batcher:
        for _ in range(10):
            await asyncio.gather(*(cancelled(number) for number in range(100)))
        await settled(batcher)
        assert (batcher.waiting, batcher.running("k"), batcher.blocks("k"), batcher.depth("k")) == (0, 0, 0, 0)
    assert not engine.live
    assert len(asyncio.all_tasks()) == tasks


async def test_a_call_that_is_given_up_frees_its_slot_for_the_next_step() -> None:
    engine = Gated(limits(sequences=1))
    with generating(engine) as batcher:
        first = batcher.stream("k", [generation([1], 50)], later())
        await anext(first)
        second = asyncio.ensure_future(batcher.submit("k", [generation([2], 1)], later()))
        await asyncio.sleep(0)
        steps = engine.steps
        await first.aclose()
        await second
        assert engine.steps <= steps + 2  # the one that ran, and its own


class Gated(FakeGenerator):
    """Counts its steps."""

    def __init__(self, found: GeneratorLimits) -> None:
        super().__init__(found)
        self.steps = 0

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        self.steps += 1
        time.sleep(0.005)
        return super().step(chunks)


async def test_a_full_queue_refuses_at_once_and_loses_nothing() -> None:
    with generating(Gated(limits(sequences=16, blocks=400)), BatchPolicy(queue_items=64)) as batcher:
        calls = [asyncio.ensure_future(batcher.submit("k", [generation([n], 10)], later())) for n in range(200)]
        found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in found if isinstance(error, ServingError)]
    assert {error.code for error in refused} == {Code.OVERLOADED}
    assert all(error.retry_after for error in refused)
    assert 100 <= len(refused) <= 200 - 64
    for number, answer in enumerate(found):
        if not isinstance(answer, BaseException):
            assert said(answer[0]) == alone(generation([number], 10))


async def test_a_prefix_is_computed_once() -> None:
    cached: list[int] = []

    def reader(count: int) -> Ids:
        cached.append(count)
        return Ids(count, ends=False)

    with generating(FakeGenerator(limits())) as batcher:
        for adapter in (ADAPTERS[0], ADAPTERS[0], ADAPTERS[1]):
            await batcher.submit("k", [generation([1] * 9, 1, adapter, reader=reader)], later())
    assert cached == [0, 8, 0]


async def test_only_the_culprit_fails() -> None:
    class Faulty(FakeGenerator):
        def step(self, chunks: Sequence[Chunk]) -> Logits:
            if any(299 in chunk.tokens for chunk in chunks):
                raise RuntimeError("a kernel failed")
            return super().step(chunks)

    class Deaf:
        def mask(self, logits: Row) -> None:
            raise ValueError("the grammar failed")

        def accept(self, token: int) -> None:
            pass

    engine = Faulty(limits())
    good = [generation([n, 1, 2]) for n in range(4)]
    bad = [generation([299]), generation([5], constraint=Deaf)]
    with generating(engine) as batcher:
        calls = [batcher.submit("k", [item], later()) for item in (good[0], bad[0], good[1], bad[1], *good[2:])]
        first, failed, second, failed_too, *others = await asyncio.gather(*calls, return_exceptions=True)
        await settled(batcher)
    for item, answer in zip(good, [first, second, *others], strict=True):
        assert said(answer[0]) == alone(item)  # type: ignore[index]
    for error in (failed, failed_too):
        assert isinstance(error, ServingError)
        assert error.code is Code.INTERNAL
        assert "kernel" not in error.message


async def test_an_adapter_that_loads_holds_up_nobody_and_one_that_cannot_fails_alone() -> None:
    class Loading(FakeGenerator):
        asked = 0

        def ready(self, adapter: Adapter) -> bool:
            if adapter.name == "blue":
                raise ServingError(Code.UNAVAILABLE, "It is gone.")
            self.asked += 1
            return self.asked > 3

    with generating(Loading(limits())) as batcher:
        work = [generation([1], 2, adapter) for adapter in ADAPTERS]
        plain, red, blue = await asyncio.gather(
            *(batcher.submit("k", [item], later()) for item in work), return_exceptions=True
        )
    assert said(plain[0]) == alone(work[0])  # type: ignore[index]
    assert said(red[0]) == alone(work[1])  # type: ignore[index]
    assert isinstance(blue, ServingError)
    assert blue.code is Code.UNAVAILABLE


async def test_deadlines_end_what_waits_and_what_runs() -> None:
    with generating(Gated(limits(sequences=1, blocks=400))) as batcher:
        calls = [batcher.submit("k", [generation([n], 1000)], later(0.1)) for n in range(2)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        await settled(batcher)
    assert [error.code for error in found] == [Code.DEADLINE_EXCEEDED] * 2  # type: ignore[union-attr]


async def test_closing_finishes_and_aborting_does_not() -> None:
    batcher = ContinuousBatcher()
    batcher.register("k", Gated(limits(blocks=400)), BatchPolicy(), GenerationPolicy())
    short, long = generation([1], 3), generation([2], 1000)
    calls = [asyncio.ensure_future(batcher.submit("k", [item], later())) for item in (short, long)]
    found = await calls[0]
    batcher.abort()
    with pytest.raises(ServingError) as caught:
        await calls[1]
    assert caught.value.code is Code.UNAVAILABLE
    assert said(found[0]) == alone(short)
    await asyncio.to_thread(batcher.close)
    with pytest.raises(ServingError):
        await batcher.submit("k", [short], later())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_thread_that_died() -> None:
    class Broken(FakeGenerator):
        def ready(self, adapter: Adapter) -> bool:
            raise RuntimeError("a bug")

    with generating(Broken(limits())) as batcher:
        for _ in range(2):
            with pytest.raises(ServingError) as caught:
                await batcher.submit("k", [generation([1], 2, ADAPTERS[1])], later())
            assert caught.value.code is Code.UNAVAILABLE
        assert not batcher.alive("k")


async def test_several_answers_of_one_call() -> None:
    with generating(FakeGenerator(limits())) as batcher:
        work = [generation([n], n + 1) for n in range(6)]
        found = await batcher.submit("k", work, later())
    assert list(map(said, found)) == list(map(alone, work))
