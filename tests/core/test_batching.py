"""The batcher: real threads and a real event loop. Engines are held by gates, never by sleeps."""

import asyncio
import contextlib
import gc
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.core.batching import Batcher
from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.errors import Code, ServingError
from services.core.queueing import Item, Run

PATIENCE = 20.0
"""Seconds that no wait reaches unless something is broken."""

quick = settings(max_examples=40)

policies = st.builds(
    BatchPolicy,
    group_items=st.integers(1, 8),
    group_cost=st.integers(1, 60),
    window_items=st.integers(1, 16),
)
costs = st.lists(st.integers(0, 20), min_size=1, max_size=12)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run on a fresh loop; a hang fails instead of lasting."""

    async def bounded() -> Any:
        return await asyncio.wait_for(coroutine, PATIENCE)

    return asyncio.run(bounded())


@contextmanager
def batching(engine: Run, policy: BatchPolicy | None = None, lanes: int = 1, observer: Any = None) -> Iterator[Batcher]:
    batcher = Batcher(lanes, observer)
    batcher.register("k", engine, policy or BatchPolicy())
    try:
        yield batcher
    finally:
        batcher.close()


def later(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


def items(payloads: Sequence[Any], cost: int = 1) -> list[Item]:
    return [Item(payload, cost) for payload in payloads]


def start(batcher: Batcher, payloads: Sequence[Any], key: str = "k", **options: Any) -> "asyncio.Task[list[Any]]":
    deadline = options.pop("deadline", later())
    cost = options.pop("cost", 1)
    return asyncio.create_task(batcher.submit(key, items(payloads, cost), deadline, **options))


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    while not true():
        await asyncio.sleep(0.001)


class Gated:
    """An engine that doubles numbers, remembers its batches, and holds every run until ``gate`` opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[Any]] = []

    def __call__(self, batch: Sequence[Any]) -> list[Any]:
        self.batches.append(list(batch))
        assert self.gate.wait(PATIENCE)
        return [payload * 2 for payload in batch]

    @property
    def seen(self) -> list[Any]:
        return [payload for batch in self.batches for payload in batch]

    async def block(self, batcher: Batcher, lanes: int = 1) -> "list[asyncio.Task[list[Any]]]":
        """Occupy every lane with a run of its own."""
        blockers = []
        for lane in range(1, lanes + 1):
            blockers.append(start(batcher, [0]))
            await until(lambda lane=lane: len(self.batches) == lane)  # type: ignore[misc]
        return blockers


def double(batch: Sequence[int]) -> list[int]:
    return [payload * 2 for payload in batch]


async def code_of(awaitable: Any) -> Code:
    with pytest.raises(ServingError) as caught:
        await awaitable
    return caught.value.code


# --- results ---


@quick
@given(requests=st.lists(costs, min_size=1, max_size=8), lanes=st.integers(1, 3), policy=policies)
def test_every_item_is_run_once_and_answered_in_its_place(
    requests: list[list[int]], lanes: int, policy: BatchPolicy
) -> None:
    ran: list[tuple[int, int]] = []

    def engine(batch: Sequence[tuple[int, int]]) -> list[str]:
        ran.extend(batch)
        return [f"{request}/{index}" for request, index in batch]

    async def scenario() -> None:
        with batching(engine, policy, lanes) as batcher:
            work = [
                [Item((number, index), cost) for index, cost in enumerate(request)]
                for number, request in enumerate(requests)
            ]
            answers = await asyncio.gather(*(batcher.submit("k", request, later()) for request in work))
            expected = [[f"{n}/{index}" for index in range(len(request))] for n, request in enumerate(requests)]
            assert answers == expected
            assert batcher.waiting == 0

    run(scenario())
    assert sorted(ran) == [(n, index) for n, request in enumerate(requests) for index in range(len(request))]


@quick
@given(
    payloads=st.lists(st.integers(-1000, 1000), min_size=1, max_size=40),
    function=st.sampled_from([abs, str, hash, lambda payload: payload**3 - 7]),
    policy=policies,
)
def test_a_list_gets_the_answers_its_items_get_alone(
    payloads: list[int], function: Callable[[int], int], policy: BatchPolicy
) -> None:
    async def scenario() -> None:
        with batching(lambda batch: [function(payload) for payload in batch], policy, lanes=2) as batcher:
            together = await batcher.submit("k", [Item(payload, abs(payload)) for payload in payloads], later())
            alone = [(await batcher.submit("k", [Item(payload, 1)], later()))[0] for payload in payloads]
            assert together == alone

    run(scenario())


def test_an_empty_list_is_answered_without_the_engine() -> None:
    async def scenario() -> None:
        with batching(lambda _: pytest.fail("ran")) as batcher:
            assert await batcher.submit("k", [], later()) == []

    run(scenario())


def test_results_may_be_rows_of_one_array() -> None:
    np = pytest.importorskip("numpy")

    async def scenario() -> None:
        with batching(lambda batch: np.array([[payload, -payload] for payload in batch])) as batcher:
            answers = await batcher.submit("k", [Item(n, 9 - n) for n in range(9)], later())
            assert [answer.tolist() for answer in answers] == [[n, -n] for n in range(9)]

    run(scenario())


# --- groups ---


@quick
@given(costs=st.lists(st.integers(0, 30), min_size=1, max_size=60), policy=policies)
def test_no_engine_run_exceeds_the_policy(costs: list[int], policy: BatchPolicy) -> None:
    batches: list[list[int]] = []

    def engine(batch: Sequence[int]) -> Sequence[int]:
        batches.append(list(batch))
        return batch

    async def scenario() -> None:
        with batching(engine, policy, lanes=2) as batcher:
            await batcher.submit("k", [Item(cost, cost) for cost in costs], later())

    run(scenario())
    for batch in batches:
        assert len(batch) <= policy.group_items
        assert len(batch) == 1 or len(batch) * max(batch) <= policy.group_cost


def test_what_gathered_behind_a_busy_lane_runs_in_full_groups_of_like_cost() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=3, window_items=6)) as batcher:
            blockers = await engine.block(batcher)
            waiting = [
                asyncio.create_task(batcher.submit("k", [Item(cost, cost)], later())) for cost in (9, 1, 8, 2, 7, 3)
            ]
            await until(lambda: batcher.waiting == 6)
            engine.gate.set()
            await asyncio.gather(*blockers, *waiting)

    run(scenario())
    assert engine.batches == [[0], [1, 2, 3], [7, 8, 9]]


def test_an_idle_lane_takes_work_at_once_and_lanes_share_a_list() -> None:
    together = threading.Barrier(3)  # breaks unless three lanes are inside the engine at the same time

    def engine(batch: Sequence[int]) -> Sequence[int]:
        together.wait(PATIENCE)
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=2), lanes=3) as batcher:
            assert await batcher.submit("k", items(range(3)), later()) == [0, 1, 2]

    run(scenario())


# --- bounds ---


@pytest.mark.parametrize(
    ("policy", "fits", "refused"),
    [
        (BatchPolicy(queue_items=3), [1, 1], [1, 1]),
        (BatchPolicy(queue_cost=10), [5, 4], [2]),
    ],
    ids=["items", "cost"],
)
def test_past_a_bound_requests_are_refused_at_once(policy: BatchPolicy, fits: list[int], refused: list[int]) -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine, policy) as batcher:
            tasks = await engine.block(batcher)
            tasks.append(asyncio.create_task(batcher.submit("k", [Item(1, cost) for cost in fits], later())))
            await until(lambda: batcher.waiting == len(fits))
            with pytest.raises(ServingError) as caught:  # while the gate is shut: the refusal waits for nothing
                await batcher.submit("k", [Item(1, cost) for cost in refused], later())
            assert caught.value.code is Code.OVERLOADED
            assert caught.value.retry_after is not None
            assert 1.0 <= caught.value.retry_after <= 60.0
            assert batcher.waiting == len(fits)
            tasks.append(asyncio.create_task(batcher.submit("k", [Item(1, 1)], later())))  # just fits
            await until(lambda: batcher.waiting == len(fits) + 1)
            engine.gate.set()
            await asyncio.gather(*tasks)

    run(scenario())


def test_an_empty_queue_takes_any_one_request() -> None:
    async def scenario() -> None:
        with batching(double, BatchPolicy(queue_items=2, queue_cost=2)) as batcher:
            assert await batcher.submit("k", items(range(50), cost=100), later()) == [n * 2 for n in range(50)]

    run(scenario())


def test_the_retry_hint_grows_with_the_work_that_waits() -> None:
    started, gate = threading.Semaphore(0), threading.Semaphore(0)

    def engine(batch: Sequence[int]) -> Sequence[int]:
        started.release()
        assert gate.acquire(timeout=PATIENCE)
        return batch

    async def refused(batcher: Batcher, waiting_cost: int) -> float:
        waiting = asyncio.create_task(batcher.submit("k", [Item(1, waiting_cost)], later()))
        await until(lambda: batcher.waiting == 1)
        with pytest.raises(ServingError) as caught:
            await batcher.submit("k", [Item(1, 1)], later())
        waiting.cancel()
        await until(waiting.done)
        assert caught.value.retry_after is not None
        return caught.value.retry_after

    async def scenario() -> None:
        with batching(engine, BatchPolicy(queue_items=1)) as batcher:
            first = start(batcher, [1], cost=1000)
            assert await asyncio.to_thread(started.acquire, timeout=PATIENCE)
            await asyncio.sleep(0.1)  # so the speed is at most 1000 / 0.1 s
            gate.release()
            await first
            blocker = start(batcher, [1])
            assert await asyncio.to_thread(started.acquire, timeout=PATIENCE)
            assert await refused(batcher, waiting_cost=1) == 1.0
            assert 2.0 <= await refused(batcher, waiting_cost=20_000) <= 60.0
            assert await refused(batcher, waiting_cost=10**9) == 60.0
            gate.release()
            await blocker

    run(scenario())


# --- deadlines and cancellation ---


def test_the_caller_is_told_on_time_while_the_engine_is_busy_and_expired_work_never_runs() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine) as batcher:
            blockers = await engine.block(batcher)
            assert await code_of(batcher.submit("k", items([7, 8]), later(0.05))) is Code.DEADLINE_EXCEEDED
            assert not engine.gate.is_set()
            assert batcher.waiting == 0
            engine.gate.set()
            await asyncio.gather(*blockers)
            assert await batcher.submit("k", items([5]), later()) == [10]

    run(scenario())
    assert engine.seen == [0, 5]


def test_the_caller_whose_work_is_already_running_is_told_on_time_too() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine) as batcher:
            assert await code_of(batcher.submit("k", items([7]), later(0.05))) is Code.DEADLINE_EXCEEDED
            engine.gate.set()

    run(scenario())


def test_a_lane_drops_expired_work_even_if_the_loop_is_too_busy_to_notice() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1)) as batcher:
            blockers = await engine.block(batcher)
            doomed, fine = start(batcher, [7], deadline=later(0.02)), start(batcher, [9])
            await asyncio.sleep(0)  # they are submitted now
            time.sleep(0.05)  # noqa: ASYNC251 — from here on the loop is blocked, so only the lane can drop it
            engine.gate.set()
            while 9 not in engine.seen:
                time.sleep(0.001)  # noqa: ASYNC251
            assert 7 not in engine.seen
            assert await code_of(doomed) is Code.DEADLINE_EXCEEDED
            await asyncio.gather(fine, *blockers)

    run(scenario())


def test_what_is_cancelled_while_its_batch_fails_is_not_run_again() -> None:
    engine = Gated()

    def failing(batch: Sequence[int]) -> list[int]:
        results = engine(batch)
        if len(batch) > 1:
            raise RuntimeError
        return results

    async def scenario() -> None:
        with batching(failing) as batcher:
            tasks = [start(batcher, [1, 2]), start(batcher, [3, 4])]
            await until(lambda: bool(engine.batches))
            tasks[0].cancel()
            await until(tasks[0].done)
            engine.gate.set()
            assert await tasks[1] == [6, 8]

    run(scenario())
    assert [1] not in engine.batches
    assert [2] not in engine.batches


def test_cancelling_frees_the_place_in_the_queue_and_the_work_never_runs() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine, BatchPolicy(queue_items=2, queue_cost=20)) as batcher:
            blockers = await engine.block(batcher)
            for _ in range(3):
                full = start(batcher, [7, 7], cost=10)
                await until(lambda: batcher.waiting == 2)
                assert await code_of(batcher.submit("k", items([1]), later())) is Code.OVERLOADED
                full.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await full
                assert batcher.waiting == 0
            last = start(batcher, [5, 6], cost=10)
            await until(lambda: batcher.waiting == 2)
            engine.gate.set()
            assert await last == [10, 12]
            await asyncio.gather(*blockers)

    run(scenario())
    assert sorted(engine.seen) == [0, 5, 6]


def test_cancelling_one_request_leaves_the_others_alone() -> None:
    engine = Gated()

    async def scenario() -> None:
        with batching(engine) as batcher:
            blockers = await engine.block(batcher)
            tasks = {n: start(batcher, [n]) for n in range(1, 21)}
            await until(lambda: batcher.waiting == 20)
            for n in range(1, 21, 2):
                tasks.pop(n).cancel()
            await until(lambda: batcher.waiting == 10)
            engine.gate.set()
            assert await asyncio.gather(*tasks.values()) == [[n * 2] for n in tasks]
            await asyncio.gather(*blockers)

    run(scenario())
    assert sorted(engine.seen) == list(range(0, 21, 2))


class Payload:
    """Something that can be watched for being freed."""


def freed(watched: Sequence["weakref.ref[Payload]"], but: int = 0) -> Callable[[], bool]:
    def check() -> bool:
        gc.collect()
        return sum(reference() is not None for reference in watched) <= but

    return check


def test_two_thousand_cancelled_requests_leave_nothing_behind() -> None:
    gate = threading.Event()
    inside = threading.Event()

    def engine(batch: Sequence[Any]) -> Sequence[Any]:
        inside.set()
        assert gate.wait(PATIENCE)
        return [None] * len(batch)

    async def scenario() -> None:
        with batching(engine) as batcher:
            blocker = start(batcher, [None])
            await until(inside.is_set)
            first = start(batcher, [None], priority=Priority.HIGH)  # in front of all of them, and wanted
            payloads = [Payload() for _ in range(2000)]
            watched = [weakref.ref(payload) for payload in payloads]
            tasks = [start(batcher, [payload]) for payload in payloads]
            await until(lambda: batcher.waiting == 2001)
            began = time.monotonic()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # A pass over the queue per cancelled call takes seconds, and the loop answers nobody meanwhile.
            assert time.monotonic() - began < 1.0
            assert batcher.waiting == 1
            del payloads, tasks, task
            await until(freed(watched, but=1))  # what is gone may lie in the queue, but never outweigh what waits
            gate.set()
            await asyncio.gather(blocker, first)

    run(scenario())


def test_a_lane_that_waits_for_work_holds_nothing_of_the_last() -> None:
    async def scenario() -> None:
        with batching(lambda batch: [None] * len(batch)) as batcher:
            payload = Payload()
            watched = weakref.ref(payload)
            await start(batcher, [payload])
            del payload
            await until(freed([watched]))

    run(scenario())


# --- order ---


async def order_of_runs(requests: Callable[[Batcher], Sequence["asyncio.Task[list[Any]]"]], count: int) -> list[Any]:
    """What one lane runs, one item at a time, when all of it came while the lane was busy."""
    engine = Gated()
    with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
        blockers = await engine.block(batcher)
        tasks = requests(batcher)
        await until(lambda: batcher.waiting == count)
        engine.gate.set()
        await asyncio.gather(*blockers, *tasks)
    return engine.seen[1:]


def test_high_priority_goes_before_normal_and_normal_before_low() -> None:
    def requests(batcher: Batcher) -> list["asyncio.Task[list[Any]]"]:
        return [
            start(batcher, [7, 8], priority=Priority.LOW),
            start(batcher, [4, 5]),
            start(batcher, [1, 2], priority=Priority.HIGH),
        ]

    assert run(order_of_runs(requests, 6)) == [1, 2, 4, 5, 7, 8]


def test_requests_of_one_priority_are_served_in_the_order_they_came() -> None:
    ran = run(order_of_runs(lambda batcher: [start(batcher, [n]) for n in range(1, 31)], 30))
    assert ran == list(range(1, 31))


@pytest.mark.parametrize("after", [1, 50])
def test_a_single_text_does_not_wait_for_a_long_list_that_came_first(after: int) -> None:
    begun: list[int] = []
    steps = threading.Semaphore(0)

    def engine(batch: Sequence[int]) -> Sequence[int]:
        begun.extend(batch)
        assert steps.acquire(timeout=PATIENCE)
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
            listed = start(batcher, range(1000), cost=5)
            steps.release(after)
            await until(lambda: len(begun) == after + 1)
            single = start(batcher, [5000], cost=5)
            await until(lambda: batcher.waiting == 1000 - after)
            steps.release(3)
            assert await single == [5000]
            steps.release(1000)
            await listed

    run(scenario())


def test_a_long_list_is_not_starved_by_single_texts_that_keep_coming() -> None:
    done: list[str] = []
    batchers: list[Batcher] = []

    def engine(batch: Sequence[str]) -> Sequence[str]:
        done.extend(batch)
        return batch

    async def singles(listed: "asyncio.Task[list[str]]") -> None:
        while not listed.done():
            await batchers[0].submit("k", items(["single"]), later())

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
            batchers.append(batcher)
            listed = start(batcher, ["list"] * 50)
            await asyncio.gather(listed, *(singles(listed) for _ in range(5)))

    run(scenario())
    assert done.count("single") <= 5 * 50


def test_keys_take_turns_on_a_lane() -> None:
    engine = Gated()
    other: list[int] = []

    def second(batch: Sequence[int]) -> Sequence[int]:
        other.append(len(engine.seen))
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1, window_items=4)) as batcher:
            batcher.register("other", second, BatchPolicy())
            blockers = await engine.block(batcher)
            listed = start(batcher, range(1, 201))
            await until(lambda: batcher.waiting == 200)
            single = start(batcher, [1], key="other")
            await until(lambda: batcher.waiting == 201)
            engine.gate.set()
            await asyncio.gather(*blockers, listed, single)

    run(scenario())
    assert other[0] <= 1 + 4  # the blocker, and at most one window of the list


def test_priority_holds_between_keys() -> None:
    engine = Gated()
    order: list[str] = []

    def named(name: str) -> Run:
        def engine(batch: Sequence[Any]) -> Sequence[Any]:
            order.append(name)
            return batch

        return engine

    async def scenario() -> None:
        with batching(engine) as batcher:
            batcher.register("low", named("low"), BatchPolicy())
            batcher.register("high", named("high"), BatchPolicy())
            tasks = await engine.block(batcher)
            tasks.append(start(batcher, [1], key="low", priority=Priority.LOW))
            await until(lambda: batcher.waiting == 1)
            tasks.append(start(batcher, [1], key="high", priority=Priority.HIGH))
            await until(lambda: batcher.waiting == 2)
            engine.gate.set()
            await asyncio.gather(*tasks)

    run(scenario())
    assert order == ["high", "low"]


@quick
@given(
    requests=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=15),
    lanes=st.integers(1, 3),
)
def test_every_key_is_answered_by_its_own_engine(requests: list[tuple[str, int]], lanes: int) -> None:
    def signed(key: str) -> Run:
        return lambda batch: [(key, payload) for payload in batch]

    async def scenario() -> None:
        with batching(double, lanes=lanes) as batcher:
            for key in "abc":
                batcher.register(key, signed(key), BatchPolicy())
            answers = await asyncio.gather(*(start(batcher, [n] * n, key=key) for key, n in requests))
            assert answers == [[(key, n)] * n for key, n in requests]

    run(scenario())


# --- engines that fail ---


def test_one_poisoned_payload_fails_only_its_own_request_and_hides_the_engines_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Gated()

    def poisoned(batch: Sequence[int]) -> list[int]:
        if 13 in batch:
            raise ValueError("secret path /srv/model")
        return engine(batch)

    async def scenario() -> None:
        with batching(poisoned, BatchPolicy(group_items=8)) as batcher:
            blockers = await engine.block(batcher)
            good = [start(batcher, [n]) for n in (1, 2, 3)]
            bad = start(batcher, [13])
            await until(lambda: batcher.waiting == 4)
            engine.gate.set()
            assert await asyncio.gather(*good) == [[2], [4], [6]]
            with pytest.raises(ServingError) as caught:
                await bad
            assert caught.value.code is Code.INTERNAL
            assert "secret" not in str(caught.value)
            await asyncio.gather(*blockers)

    with caplog.at_level(logging.ERROR):
        run(scenario())
    assert "secret path" in caplog.text  # the operator sees it


def test_a_serving_error_of_the_engine_reaches_the_caller_unchanged() -> None:
    error = ServingError(Code.TOO_LARGE, "Give less.", "text[0]", 3.0)

    def engine(batch: Sequence[int]) -> Sequence[int]:
        raise error

    async def scenario() -> None:
        with batching(engine) as batcher, pytest.raises(ServingError) as caught:
            await batcher.submit("k", items([1]), later())
        assert caught.value is error

    run(scenario())


@pytest.mark.parametrize("answer", [lambda batch: batch[1:], lambda batch: [*batch, 0], lambda _: None])
@pytest.mark.parametrize("count", [1, 4])
def test_an_engine_that_answers_with_the_wrong_number_of_results_fails_loudly(
    answer: Callable[[Sequence[int]], Any], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with batching(answer) as batcher:
            assert await code_of(batcher.submit("k", items(range(count)), later())) is Code.INTERNAL

    run(scenario())
    assert "engine run of" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_a_lane_outlives_whatever_an_engine_raises(error: type[BaseException]) -> None:
    def engine(batch: Sequence[int]) -> Sequence[int]:
        if batch[0] < 0:
            raise error
        return batch

    async def scenario() -> None:
        with batching(engine) as batcher:
            assert await code_of(batcher.submit("k", items([-1]), later())) is Code.INTERNAL
            assert await batcher.submit("k", items([1]), later()) == [1]

    run(scenario())


class Observer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.runs: list[tuple[Any, int, int, int]] = []
        self.waits: list[float] = []

    def ran(self, key: Any, waits: Sequence[float], cost: int, padded_cost: int) -> None:
        self.waits += waits
        self.runs.append((key, len(waits), cost, padded_cost))


def test_the_observer_is_told_size_cost_padding_and_waits() -> None:
    observer = Observer()

    async def scenario() -> None:
        with batching(double, BatchPolicy(group_items=3), observer=observer) as batcher:
            await batcher.submit("k", [Item(1, cost) for cost in (2, 3, 5, 40)], later())

    began = time.monotonic()
    run(scenario())
    assert observer.runs == [("k", 3, 10, 15), ("k", 1, 40, 40)]
    assert all(0 <= wait <= time.monotonic() - began for wait in observer.waits)


def test_a_lane_outlives_an_observer_that_fails() -> None:
    class Broken:
        def ran(self, key: Any, waits: Sequence[float], cost: int, padded_cost: int) -> None:
            raise RuntimeError

    async def scenario() -> None:
        with batching(double, BatchPolicy(group_items=1), observer=Broken()) as batcher:
            assert await batcher.submit("k", items([1, 2, 3]), later()) == [2, 4, 6]

    run(scenario())


# --- closing ---


def test_closing_finishes_what_waits_then_refuses_and_ends_the_lanes() -> None:
    engine = Gated()
    before = threading.active_count()

    async def scenario() -> None:
        batcher = Batcher(2)
        batcher.register("k", engine, BatchPolicy())
        blockers = await engine.block(batcher, lanes=2)
        waiting = [start(batcher, [n]) for n in range(1, 21)]
        await until(lambda: batcher.waiting == 20)
        with ThreadPoolExecutor() as pool:
            closing = asyncio.get_running_loop().run_in_executor(pool, batcher.close)
            refused = Code.INTERNAL
            while refused is not Code.UNAVAILABLE:  # close() may not have begun yet
                extra = start(batcher, [0])
                done, _ = await asyncio.wait([extra], timeout=0.01)
                if done:
                    refused = await code_of(extra)
                else:
                    waiting.append(extra)
            engine.gate.set()
            answers = await asyncio.gather(*blockers, *waiting)
            await closing
        assert answers[2:22] == [[n * 2] for n in range(1, 21)]
        assert await code_of(batcher.submit("k", items([1]), later())) is Code.UNAVAILABLE
        batcher.close()  # again, to no effect

    run(scenario())
    assert threading.active_count() == before


def test_lanes_end_quietly_when_the_event_loop_has_gone() -> None:
    engine = Gated()

    async def scenario() -> Batcher:
        batcher = Batcher(2)
        batcher.register("k", engine, BatchPolicy())
        await engine.block(batcher, lanes=2)
        return batcher

    batcher: Batcher = run(scenario())  # the loop is closed with both runs under way
    engine.gate.set()
    batcher.close()  # pytest fails this test if a lane ended with an exception


def test_results_of_a_stopped_loop_arrive_when_it_goes_on() -> None:
    engine = Gated()
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[Batcher, list["asyncio.Task[list[Any]]"]]:
        batcher = Batcher(1)
        batcher.register("k", engine, BatchPolicy())
        return batcher, [*await engine.block(batcher), start(batcher, [4])]

    async def end(tasks: list["asyncio.Task[list[Any]]"]) -> list[list[Any]]:
        return await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    with contextlib.closing(loop):
        batcher, tasks = loop.run_until_complete(begin())
        engine.gate.set()
        batcher.close()
        assert loop.run_until_complete(end(tasks)) == [[0], [8]]


# --- many at once ---


def test_nothing_is_lost_when_requests_come_fail_expire_and_are_cancelled_at_once() -> None:
    chance = random.Random(7)

    def engine(batch: Sequence[int]) -> list[int]:
        if any(payload % 17 == 0 for payload in batch):
            raise RuntimeError
        return double(batch)

    async def client(batcher: Batcher, number: int) -> str:
        payloads = [number * 100 + index for index in range(chance.randint(1, 20))]
        timeout = PATIENCE if chance.random() < 0.7 else chance.random() * 0.02
        task = asyncio.create_task(
            batcher.submit("k", items(payloads, chance.randint(1, 9)), later(timeout), chance.choice(list(Priority)))
        )
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.01)
            task.cancel()
        try:
            assert await task == double(payloads)
        except asyncio.CancelledError:
            return "cancelled"
        except ServingError as error:
            if error.code is Code.INTERNAL:
                assert any(payload % 17 == 0 for payload in payloads)
            return error.code
        assert all(payload % 17 for payload in payloads)
        return "ok"

    async def scenario() -> set[str]:
        with batching(engine, BatchPolicy(queue_items=10_000), lanes=3) as batcher:
            outcomes = await asyncio.gather(*(client(batcher, number) for number in range(400)))
            assert batcher.waiting == 0
            return set(outcomes)

    logging.getLogger("services.core.lanes").disabled = True
    try:
        assert run(scenario()) >= {"ok", "cancelled", Code.INTERNAL}
    finally:
        logging.getLogger("services.core.lanes").disabled = False


class QueueMachine(RuleBasedStateMachine):
    """One lane behind a gate, and a model of what must wait: admission and accounting hold after any history."""

    POLICY = BatchPolicy(queue_items=12, queue_cost=60, group_items=3, window_items=5)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.engine = Gated()
        self.waiting: dict[int, tuple[asyncio.Task[list[Any]], list[int]]] = {}
        self.cancelled: set[int] = set()
        self.number = 0
        self.batcher: Batcher = self.runner.run(self._open())

    async def _open(self) -> Batcher:
        batcher = Batcher(1)
        batcher.register("k", self.engine, self.POLICY)
        self.blockers = await self.engine.block(batcher)
        return batcher

    async def _settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    @rule(costs=st.lists(st.integers(0, 30), min_size=1, max_size=8), priority=st.sampled_from(Priority))
    def submit(self, costs: list[int], priority: Priority) -> None:
        self.number += 1
        work = [Item(self.number, cost) for cost in costs]
        held = [cost for _, held in self.waiting.values() for cost in held]
        fits = not held or (len(held) + len(costs) <= 12 and sum(held) + sum(costs) <= 60)

        async def go() -> "asyncio.Task[list[Any]]":
            task = asyncio.create_task(self.batcher.submit("k", work, later(), priority))
            await self._settle()
            return task

        task = self.runner.run(go())
        assert task.done() != fits
        if fits:
            self.waiting[self.number] = (task, costs)
        else:
            error = task.exception()
            assert isinstance(error, ServingError)
            assert error.code is Code.OVERLOADED

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        task, _ = self.waiting.pop(number)
        self.cancelled.add(number)
        task.cancel()
        self.runner.run(self._settle())
        assert task.cancelled()

    @invariant()
    def counts_what_waits(self) -> None:
        assert self.batcher.waiting == sum(len(costs) for _, costs in self.waiting.values())

    def teardown(self) -> None:
        async def finish() -> None:
            for number, (task, costs) in self.waiting.items():
                assert await asyncio.wait_for(task, PATIENCE) == [number * 2] * len(costs)
            await asyncio.gather(*self.blockers)

        self.engine.gate.set()
        try:
            self.runner.run(finish())
        finally:
            self.batcher.close()
            self.runner.close()
        assert self.cancelled.isdisjoint(self.engine.seen)
        assert self.batcher.waiting == 0


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=20)


def test_many_long_lists_do_not_stand_in_front_of_a_single_text() -> None:
    """Eight callers with 200 items each: a ninth with one item is among the next to be served, not the last."""
    order: list[str] = []
    gate = threading.Event()

    def engine(batch: Sequence[Any]) -> Sequence[Any]:
        gate.wait(30)
        order.extend(batch)
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
            lists = [asyncio.create_task(batcher.submit("k", items([f"list{n}"] * 200), later())) for n in range(8)]
            await asyncio.sleep(0)
            gate.set()
            while len(order) < 400:
                await asyncio.sleep(0.001)
            gate.clear()
            served = len(order)
            single = asyncio.create_task(batcher.submit("k", items(["single"]), later()))
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(single, *lists)
        assert order.index("single") - served < 20

    run(scenario())


def test_single_texts_cannot_starve_a_list() -> None:
    """While single texts keep coming faster than the engine runs, a list still gets its share."""
    order: list[str] = []

    def engine(batch: Sequence[Any]) -> Sequence[Any]:
        order.extend(batch)
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
            whole = asyncio.create_task(batcher.submit("k", items(["list"] * 50), later()))
            singles: set[asyncio.Task[Any]] = set()
            while not whole.done():
                if batcher.waiting < 200:
                    singles.add(asyncio.create_task(batcher.submit("k", items(["single"]), later())))
                await asyncio.sleep(0)
            assert order.count("single") < 20_000
            await asyncio.gather(*singles)

    run(scenario())


def test_a_window_is_bounded_by_cost_too() -> None:
    windows: list[int] = []

    async def scenario() -> None:
        gate = threading.Event()

        def engine(batch: Sequence[Any]) -> Sequence[Any]:
            gate.wait(30)
            windows.append(len(batch))
            return batch

        policy = BatchPolicy(group_items=100, group_cost=10_000, window_items=100, window_cost=1000)
        with batching(engine, policy) as batcher:
            first = asyncio.create_task(batcher.submit("k", [Item("first", 1)], later()))
            await asyncio.sleep(0.01)
            rest = asyncio.create_task(batcher.submit("k", [Item(n, 400) for n in range(9)], later()))
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(first, rest)

    run(scenario())
    assert windows == [1, 3, 3, 3]


def test_abort_fails_what_waits_and_lets_what_runs_end() -> None:
    gate, started = threading.Event(), threading.Event()

    def engine(batch: Sequence[Any]) -> Sequence[Any]:
        started.set()
        gate.wait(30)
        return batch

    async def scenario() -> None:
        with batching(engine, BatchPolicy(group_items=1)) as batcher:
            running = asyncio.create_task(batcher.submit("k", items([1]), later()))
            await asyncio.to_thread(started.wait)
            waiting = asyncio.create_task(batcher.submit("k", items([2, 3]), later()))
            await asyncio.sleep(0)
            batcher.abort()
            with pytest.raises(ServingError) as caught:
                await waiting
            assert caught.value.code is Code.UNAVAILABLE
            assert batcher.waiting == 0
            gate.set()
            assert await running == [1]

    run(scenario())


@quick
@given(policies, st.lists(costs, min_size=1, max_size=5), st.integers(1, 3))
def test_a_stream_is_what_submit_gives_one_by_one(policy: BatchPolicy, calls: list[list[int]], lanes: int) -> None:
    async def stream(batcher: Batcher, own: list[Item]) -> list[Any]:
        return [result async for _, result in batcher.stream("k", own, later())]

    async def main() -> None:
        with batching(lambda payloads: [payload * 2 for payload in payloads], policy, lanes) as batcher:
            items = [[Item((n, i), cost) for i, cost in enumerate(own)] for n, own in enumerate(calls)]
            found = await asyncio.gather(*(stream(batcher, own) for own in items))
            assert found == [[item.payload * 2 for item in own] for own in items]
            assert batcher.waiting == 0

    run(main())


def test_a_stream_gives_up_what_is_left_when_it_is_closed() -> None:
    async def main() -> None:
        gate = threading.Event()

        def engine(payloads: Sequence[Any]) -> Sequence[Any]:
            if 1 in payloads:
                gate.wait(PATIENCE)
            return payloads

        with batching(engine, BatchPolicy(group_items=1, window_items=1)) as batcher:
            results = batcher.stream("k", [Item(n, 1) for n in range(10)], later())
            assert await anext(results) == (0, 0)
            await results.aclose()
            assert batcher.waiting == 0
            gate.set()

    run(main())


def test_a_lane_that_gathers_takes_all_that_comes_together() -> None:
    async def main() -> None:
        runs: list[int] = []

        both = threading.Barrier(2)

        def engine(payloads: Sequence[Any]) -> Sequence[Any]:
            runs.append(len(payloads))
            if len(runs) <= 2:
                both.wait(PATIENCE)
            return payloads

        policy = BatchPolicy(group_items=32, run_cost=1000, gather=0.5, queue_seconds=60)
        with batching(engine, policy, lanes=2) as batcher:
            batcher._queues["k"].run_seconds = 2.0
            started = time.monotonic()
            await asyncio.gather(*(batcher.submit("k", [Item(n, 1)], later()) for n in range(32)))
            assert runs == [16, 16]
            assert time.monotonic() - started < 1  # a full run for each lane is not waited for
            batcher._queues["k"].run_seconds = 2.0
            await batcher.submit("k", [Item(0, 1)], later())
            assert runs[-1] == 1
            assert time.monotonic() - started >= 0.8  # one alone is

    run(main())


def test_closing_does_not_wait_for_company() -> None:
    async def main() -> None:
        with batching(list, BatchPolicy(gather=0.5)) as batcher:
            batcher._queues["k"].run_seconds = 2.0
            task = asyncio.create_task(batcher.submit("k", [Item(0, 1)], later()))
            await asyncio.sleep(0)
            started = time.monotonic()
        assert time.monotonic() - started < 1
        assert await task == [0]

    run(main())


def test_a_burst_after_a_lone_call_is_let_in_where_runs_cost_the_same() -> None:
    """The speed of one item alone says nothing of the speed of many."""

    async def main() -> None:
        def engine(payloads: Sequence[Any]) -> Sequence[Any]:
            time.sleep(0.05)
            return payloads

        policy = BatchPolicy(group_items=32, run_cost=1000, gather=0.05, queue_seconds=0.5)
        with batching(engine, policy) as batcher:
            await batcher.submit("k", [Item(0, 100)], later())
            await asyncio.gather(*(batcher.submit("k", [Item(n, 100)], later()) for n in range(64)))
            with pytest.raises(ServingError):  # so much would take long, and is refused
                await asyncio.gather(*(batcher.submit("k", [Item(n, 100)], later()) for n in range(1000)))

    run(main())


def test_one_that_gathers_holds_up_no_other() -> None:
    async def main() -> None:
        with batching(list, BatchPolicy(gather=0.5)) as batcher:
            batcher._queues["k"].run_seconds = 4.0
            batcher.register("other", list, BatchPolicy())
            patient = asyncio.create_task(batcher.submit("k", [Item(0, 1)], later()))
            await asyncio.sleep(0.05)
            started = time.monotonic()
            await batcher.submit("other", [Item(1, 1)], later())
            assert time.monotonic() - started < 1
            assert not patient.done()
            assert await patient == [0]

    run(main())
