"""Who may wait: by time, not only by count. The queue alone first, then the batcher, then real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.core.batching import Batcher
from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.errors import Code, ServingError
from services.core.queueing import MARGIN, Item, Queue, Ticket
from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest
from tests.serving import GatedEncoder, Server, serve

CLASSIFY = "/chorale.classification.v1.ClassificationService/Classify"

calls = st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=6), max_size=12)
speeds = st.floats(0.1, 1e5)


def make_queue(waiting: Sequence[Sequence[int]], speed: float, lanes: int = 1, **policy: Any) -> Queue:
    """A queue with these calls in line; the futures are nobody's."""
    queue = Queue("k", lambda batch: batch, BatchPolicy(**policy), lanes)
    queue.speed = speed
    for costs in waiting:
        ticket = Ticket(len(costs), 1e9, 0.0, None)  # type: ignore[arg-type]
        queue.push([Item(None, cost) for cost in costs], sum(costs), ticket, Priority.NORMAL)
    return queue


def refusal(queue: Queue, costs: Sequence[int], remaining: float) -> ServingError | None:
    return queue.refusal(len(costs), sum(costs), queue.wait(len(costs)), remaining)


@given(
    costs=st.lists(st.integers(0, 10**7), min_size=1, max_size=9),
    running=st.integers(0, 10**7),
    speed=st.just(0.0) | speeds,
)
def test_an_empty_queue_takes_any_request(costs: list[int], running: int, speed: float) -> None:
    queue = make_queue([], speed, queue_items=1, queue_cost=1, queue_seconds=0.001)
    queue.running = running
    assert refusal(queue, costs, remaining=1e-6) is None


@given(waiting=calls, costs=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_without_a_speed_nothing_is_refused_for_its_time(waiting: list[list[int]], costs: list[int]) -> None:
    assert refusal(make_queue(waiting, 0.0), costs, remaining=1e-6) is None


@given(
    waiting=calls,
    costs=st.lists(st.integers(0, 200), min_size=1, max_size=6),
    speed=speeds,
    lanes=st.integers(1, 4),
    bound=st.floats(0.01, 10),
    remaining=st.floats(0.001, 100),
)
def test_what_is_admitted_waits_within_the_bound_and_can_be_done_in_time(
    waiting: list[list[int]], costs: list[int], speed: float, lanes: int, bound: float, remaining: float
) -> None:
    queue = make_queue(waiting, speed, lanes, queue_seconds=bound)
    assume(queue.items)
    wait = queue.wait(len(costs))
    if error := refusal(queue, costs, remaining):
        assert error.code is Code.OVERLOADED
        assert error.retry_after is not None
        assert error.retry_after > 0
    else:
        assert wait <= bound
        assert MARGIN * (wait + sum(costs) / (speed * lanes)) <= remaining


@given(waiting=calls, speed=speeds, running=st.integers(0, 1000), count=st.integers(1, 20))
def test_the_estimate_is_the_work_on_hand_and_never_more(
    waiting: list[list[int]], speed: float, running: int, count: int
) -> None:
    queue = make_queue(waiting, speed)
    queue.running = running
    assert running / speed <= queue.wait(count) <= queue.seconds * 1.000001
    if all(len(costs) == 1 for costs in waiting):
        assert queue.wait() == pytest.approx(queue.seconds)


def test_a_single_text_is_not_refused_for_a_list_it_will_not_wait_for() -> None:
    queue = make_queue([[10] * 1000], speed=100.0)
    assert queue.seconds == 100
    assert refusal(queue, [10], remaining=1.0) is None
    assert refusal(queue, [10] * 1000, remaining=1000.0) is not None


# --- the batcher ---


async def slowed(batcher: Batcher, key: str = "k") -> None:
    """Let the batcher know a speed: 100 a second and lane at most."""
    await batcher.submit(key, [Item(0.01, 1)], time.monotonic() + 20)
    await learnt(batcher, key)


async def learnt(batcher: Batcher, key: Any) -> Queue:
    """The queue, once its lane has told how fast it was: that comes just after the answer."""
    queue = batcher._queues[key]
    while not queue.speed or queue.running:
        await asyncio.sleep(0.001)
    return queue


def engine(batch: Sequence[float]) -> Sequence[float]:
    time.sleep(sum(batch))
    return batch


async def test_a_call_is_refused_before_and_at_its_submission_when_it_cannot_meet_its_deadline() -> None:
    batcher = Batcher(1)
    batcher.register("k", engine, BatchPolicy(group_items=1, window_items=1))
    try:
        await slowed(batcher)
        far = time.monotonic() + 20
        waiting = [asyncio.create_task(batcher.submit("k", [Item(0.01, 1)], far)) for _ in range(20)]
        await asyncio.sleep(0)
        assert batcher.refusal("k", far) is None
        found = batcher.refusal("k", time.monotonic() + 0.1)
        with pytest.raises(ServingError) as caught:
            await batcher.submit("k", [Item(0.0, 1)], time.monotonic() + 0.1)
        assert found is not None
        assert found.code is caught.value.code is Code.OVERLOADED
        await asyncio.gather(*waiting)
        assert batcher.refusal("k", time.monotonic() + 0.001) is None  # nobody waits
    finally:
        await asyncio.to_thread(batcher.close)


async def test_work_of_another_key_counts_no_further_than_its_turns() -> None:
    batcher = Batcher(1)
    policy = BatchPolicy(group_items=1, window_items=1, queue_seconds=0.15)
    try:
        for key in ("k", "other"):
            batcher.register(key, engine, policy)
            await slowed(batcher, key)
        far = time.monotonic() + 20
        long = asyncio.create_task(batcher.submit("other", [Item(0.01, 1)] * 100, far))
        few = [asyncio.create_task(batcher.submit("k", [Item(0.01, 1)], far)) for _ in range(4)]
        await asyncio.sleep(0)
        assert batcher.refusal("k", far) is None  # some 0.04 s of its own, and as much for the other's turns: not 1 s
        more = [asyncio.create_task(batcher.submit("k", [Item(0.01, 1)], far)) for _ in range(8)]
        await asyncio.sleep(0)
        assert batcher.refusal("k", far)  # 0.12 s, which would fit, and as much again
        answers = await asyncio.gather(*few, *more, return_exceptions=True)
        assert sum(isinstance(answer, ServingError) for answer in answers) < len(more)
        await long
    finally:
        await asyncio.to_thread(batcher.close)


# --- servers ---


async def overload(server: Server, encoder: GatedEncoder) -> "list[asyncio.Task[Any]]":
    """A text that runs, one that waits, and a speed by which the wait is past any bound."""
    encoder.gate.set()
    await server.post("/v1/classify", {"text": "to know the speed"})
    encoder.gate.clear()
    encoder.started.clear()
    (key,) = server.service._keys["classification", "Classify"]
    queue = await learnt(server.service._batcher, key)
    running = asyncio.create_task(server.post("/v1/classify", {"text": "one"}))
    await asyncio.to_thread(encoder.started.wait)
    waiting = asyncio.create_task(server.post("/v1/classify", {"text": "two"}))
    while not server.service.waiting:
        await asyncio.sleep(0.001)
    queue.speed = 1.0  # each text is a second of work
    return [running, waiting]


@pytest.mark.parametrize(("queue_seconds", "seconds"), [(0.5, 20.0), (1000.0, 1.0)], ids=["bound", "deadline"])
async def test_refusals_for_time_are_the_same_on_rest_and_grpc(
    tmp_path: Path, queue_seconds: float, seconds: float
) -> None:
    encoder = GatedEncoder()
    async with serve(tmp_path, encoder, BatchPolicy(lanes=1, queue_seconds=queue_seconds)) as server:
        held = await overload(server, encoder)
        rest = await server.post("/v1/classify", {"text": "three"}, headers={"x-request-timeout": str(seconds)})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.rpc(CLASSIFY, ClassifyRequest(text=["three"]).SerializeToString(), timeout=seconds)
        assert server.service.waiting == 1
        encoder.gate.set()
        await asyncio.gather(*held)
    trailers = dict(caught.value.trailing_metadata() or ())
    assert rest.status_code == 429
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rest.json()["error"]["code"] == trailers["x-chorale-code"] == "OVERLOADED"
    assert rest.json()["error"]["message"] == caught.value.details()
    assert int(rest.headers["retry-after"]) == int(trailers["retry-after"]) >= 1


@pytest.mark.parametrize("whole", [True, False], ids=["refused unread", "of unknown length"])
async def test_a_refused_text_is_not_tokenised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    encoder = GatedEncoder()
    async with serve(tmp_path, encoder, BatchPolicy(lanes=1, queue_seconds=0.5)) as server:
        held = await overload(server, encoder)
        (pipeline,) = [model.pipeline for model in server.service._loaded.values() if "Classify" in model.verbs]
        monkeypatch.setattr(pipeline, "prepare", lambda _: pytest.fail("prepared"))
        body = b'{"text": "three"}'
        refused = await server.rest.post("/v1/classify", content=body if whole else pieces(body))
        assert refused.status_code == 429
        encoder.gate.set()
        await asyncio.gather(*held)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """Sent so, its length is not known before."""
    yield body
