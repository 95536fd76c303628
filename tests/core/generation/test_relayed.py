"""Engines that plan their own steps: what they bring is handed on whole and in order, and nothing is left behind."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.catalog import BatchPolicy, GenerationPolicy
from services.core.context import Priority
from services.core.engine import EngineOptions, Generator, GeneratorLimits, SelfScheduled, generates
from services.core.errors import Code, ServingError
from services.core.generation.continuous import ContinuousBatcher
from services.core.generation.records import Generation, Progress, Token
from services.core.queueing import Item
from tests.core.generation.test_continuous import Ids, generation, later, said, settled

BAD, SHORT = 299, 298
"""Prompts on which the engine fails, and on which it ends before its time."""


class Counting:
    """Says what follows from the prompt and the place, some tokens at a time."""

    alive = True
    limits = GeneratorLimits(context=256, vocabulary=300, sequences=4, blocks=64, block_tokens=8)

    def __init__(self, together: int = 1, seconds: float = 0.0) -> None:
        self.live: set[int] = set()
        self.priorities: list[Priority] = []
        self._together = together
        self._seconds = seconds

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        return cls()

    async def generate(self, sequence: int, work: Generation, priority: Priority) -> AsyncGenerator[Progress]:
        self.live.add(sequence)
        self.priorities.append(priority)
        try:
            await asyncio.sleep(self._seconds)
            if work.prompt[0] == BAD:
                raise RuntimeError("a kernel failed")
            tokens = [Token(id_) for id_ in words(work)]
            for start in range(0, 1 if work.prompt[0] == SHORT else len(tokens), self._together):
                yield Progress(tuple(tokens[start : start + self._together]), cached=len(work.prompt) // 2)
                await asyncio.sleep(self._seconds)
        finally:
            self.live.discard(sequence)

    def close(self) -> None:
        pass


def words(work: Generation) -> list[int]:
    return [(sum(work.prompt) * 31 + place * 17) % 290 for place in range(work.max_tokens + 3)]


def alone(item: Item) -> list[int]:
    """What is said of it, whoever else is there."""
    work: Generation = item.payload
    reader, told = work.reader(0), []
    for word in words(work)[: work.max_tokens]:
        told.append(word)
        reader.read(Token(word))
        if reader.finished:
            break
    return told


@asynccontextmanager
async def relaying(
    engine: SelfScheduled, policy: BatchPolicy | None = None, observer: Any = None
) -> AsyncIterator[ContinuousBatcher]:
    batcher = ContinuousBatcher(observer)
    batcher.register("k", engine, policy or BatchPolicy(), GenerationPolicy())
    try:
        yield batcher
    finally:
        await asyncio.to_thread(batcher.close)


def codes(found: Sequence[Any]) -> list[Any]:
    return [getattr(one, "code", None) for one in found]


def test_both_kinds_of_generators_are_told_by_their_class() -> None:
    assert generates(Counting)
    assert isinstance(Counting(), SelfScheduled)
    assert not isinstance(Counting(), Generator)


items = st.builds(
    lambda prompt, most, ends: generation(prompt, most, ends=ends),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.integers(1, 12),
    st.booleans(),
)


@settings(max_examples=60)
@given(st.lists(items, min_size=1, max_size=8), st.integers(1, 5), st.sets(st.integers(0, 7)))
async def test_in_company_as_alone(given_items: list[Item], together: int, leaving: set[int]) -> None:
    engine = Counting(together)

    async def one(number: int, item: Item) -> list[int]:
        told: list[Any] = []
        async with aclosing(batcher.stream("k", [item], later())) as outputs:
            async for _, output in outputs:
                told.append(output)
                if number in leaving and len(told) == 2:
                    break
        return said(told)

    async with relaying(engine) as batcher:
        found = await asyncio.gather(*(one(number, item) for number, item in enumerate(given_items)))
        await settled(batcher)
    for number, (item, told) in enumerate(zip(given_items, found, strict=True)):
        assert told == (alone(item)[:2] if number in leaving else alone(item))
    assert not engine.live


async def test_a_thousand_cancelled_streams_leave_nothing() -> None:
    engine = Counting(seconds=0.001)

    async def cancelled(number: int) -> None:
        async with aclosing(batcher.stream("k", [generation([number % 5] * 9, 20)], later())) as outputs:
            for _ in range(number % 3):
                await anext(outputs)

    tasks = len(asyncio.all_tasks())
    async with relaying(engine, BatchPolicy(queue_items=2000)) as batcher:
        for _ in range(10):
            await asyncio.gather(*(cancelled(number) for number in range(100)))
        await settled(batcher)
        assert (batcher.waiting, batcher.running("k"), batcher.blocks("k"), batcher.depth("k")) == (0, 0, 0, 0)
    assert not engine.live
    assert len(asyncio.all_tasks()) == tasks


async def test_a_full_queue_refuses_at_once_and_loses_nothing() -> None:
    async with relaying(Counting(seconds=0.005), BatchPolicy(queue_items=64)) as batcher:
        calls = [asyncio.ensure_future(batcher.submit("k", [generation([n], 10)], later())) for n in range(200)]
        found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in found if isinstance(error, ServingError)]
    assert len(refused) == 200 - 64
    assert set(codes(refused)) == {Code.OVERLOADED}
    assert all(error.retry_after for error in refused)
    told = [said(answer[0]) for answer in found if not isinstance(answer, BaseException)]
    assert told == [alone(generation([n], 10)) for n in range(64)]


async def test_what_runs_makes_room_for_what_waits() -> None:
    async with relaying(Counting(seconds=0.002), BatchPolicy(queue_items=2)) as batcher:
        calls = [batcher.stream("k", [generation([n], 50)], later()) for n in range(4)]
        for call in calls:
            await anext(call)
        assert (batcher.running("k"), batcher.waiting, batcher.blocks("k")) == (4, 0, 4)
        for call in calls:
            await call.aclose()


@pytest.mark.parametrize(("prompt", "sentence"), [(BAD, "failed on this input"), (SHORT, "before its time")])
async def test_only_the_culprit_fails(prompt: int, sentence: str) -> None:
    good = [generation([n]) for n in range(4)]
    async with relaying(Counting()) as batcher:
        calls = [batcher.submit("k", [item], later()) for item in (*good, generation([prompt]))]
        *answers, failed = await asyncio.gather(*calls, return_exceptions=True)
        await settled(batcher)
    assert [said(answer[0]) for answer in answers] == list(map(alone, good))  # type: ignore[index]
    assert isinstance(failed, ServingError)
    assert failed.code is Code.INTERNAL
    assert sentence in failed.message
    assert "kernel" not in failed.message


async def test_errors_of_ours_are_told_as_they_are_and_foreign_ones_are_not() -> None:
    class Refusing(Ids):
        def read(self, token: Token) -> int:
            raise error

    async with relaying(Counting()) as batcher:
        for error in (ServingError(Code.CONFLICT, "No."), ValueError("a secret")):
            item = generation([1], reader=lambda cached: Refusing(cached, ends=False))
            with pytest.raises(ServingError) as caught:
                await batcher.submit("k", [item], later())
            assert caught.value.code is (Code.CONFLICT if isinstance(error, ServingError) else Code.INTERNAL)
            assert "secret" not in caught.value.message


async def test_a_failure_ends_the_other_answers_of_its_call() -> None:
    engine = Counting(seconds=0.001)
    async with relaying(engine) as batcher:
        with pytest.raises(ServingError):
            await batcher.submit("k", [generation([1], 200), generation([BAD]), generation([2], 200)], later())
        await settled(batcher)
    assert not engine.live


async def test_a_dead_engine_is_asked_no_more() -> None:
    engine = Counting()
    async with relaying(engine) as batcher:
        assert batcher.alive("k")
        engine.alive = False
        assert not batcher.alive("k")
        with pytest.raises(ServingError) as caught:
            await batcher.submit("k", [generation([1])], later())
        assert caught.value.code is Code.UNAVAILABLE
    assert not engine.priorities


async def test_deadlines_end_what_waits_and_what_runs() -> None:
    engine = Counting(seconds=0.01)
    async with relaying(engine) as batcher:
        calls = [batcher.submit("k", [generation([n], 200)], later(0.1)) for n in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert codes(found) == [Code.DEADLINE_EXCEEDED] * 6
        with pytest.raises(ServingError) as caught:
            await batcher.submit("k", [generation([1])], later(-1))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        await settled(batcher)
    assert not engine.live


async def test_closing_finishes_and_aborting_does_not() -> None:
    batcher = ContinuousBatcher()
    batcher.register("k", Counting(seconds=0.005), BatchPolicy(), GenerationPolicy())
    short, long = generation([1], 3), generation([2], 200)
    calls = [asyncio.ensure_future(batcher.submit("k", [item], later())) for item in (short, long)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(batcher.close))
    assert said((await calls[0])[0]) == alone(short)
    with pytest.raises(ServingError, match="shutting down"):
        await batcher.submit("k", [short], later())
    assert not closing.done()
    batcher.abort()
    with pytest.raises(ServingError, match="shutting down"):
        await calls[1]
    await closing
    assert batcher.lanes == ()


async def test_what_the_reader_is_told_and_the_engine_asked() -> None:
    cached: list[int] = []

    def reader(count: int) -> Ids:
        cached.append(count)
        return Ids(count, ends=False)

    engine = Counting()
    async with relaying(engine) as batcher:
        work = [generation([n] * 9, n + 1, reader=reader) for n in range(6)]
        found = await batcher.submit("k", work, later(), Priority.LOW)
    assert cached == [4] * 6
    assert list(map(said, found)) == list(map(alone, work))
    assert engine.priorities == [Priority.LOW] * 6


class Watch:
    """What an observer is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, what: str) -> Any:
        return lambda *_: self.told.append(what)


async def test_the_observer_is_told_of_each_token() -> None:
    watch = Watch()
    async with relaying(Counting(together=2), observer=watch) as batcher:
        await batcher.submit("k", [generation([1], 5)], later())
        assert batcher.work_seconds == 0
    assert watch.told == ["joined", "first", "next", "next", "next", "next"]


def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    """As when a server is killed in the middle: its tasks are cancelled in any order."""
    threads = threading.active_count()

    async def world() -> None:
        batcher = ContinuousBatcher()
        batcher.register("k", Counting(seconds=1), BatchPolicy(), GenerationPolicy())
        calls = [asyncio.ensure_future(batcher.submit("k", [generation([n], 200)], later())) for n in range(3)]
        await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task(), *calls}:
            task.cancel()
        assert codes(await asyncio.gather(*calls, return_exceptions=True)) == [Code.UNAVAILABLE] * 3

    started = time.monotonic()
    asyncio.run(world())
    assert time.monotonic() - started < 5
    assert threading.active_count() == threads
