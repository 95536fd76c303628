"""How live calls end early: alike for every client, straight to the models and through a gateway."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from services.clients import NEVER, AsyncRestClient, Code, ServingError
from services.core.catalog import BatchPolicy
from tests.relay import RELAY, RelayRequest, until
from tests.talking import KINDS, WAYS, blocks, failure, place, talk


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_that_stalls_is_not_waited_for(way: str, kind: str) -> None:
    stop = threading.Event()

    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        stop.wait(10)

    async with place(way, idle_seconds=0.3) as at, asyncio.timeout(20):
        found, error = await failure(talk(at, kind, requests()))
        stop.set()
        assert (error.code, len(found)) == (Code.DEADLINE_EXCEEDED, 1)
        await until(lambda: at.pipeline.talks == 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_a_call(way: str, kind: str) -> None:
    stop = threading.Event()

    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        stop.wait(10)

    async with place(way) as at, asyncio.timeout(20):
        found, error = await failure(talk(at, kind, requests(), timeout=0.7))
        stop.set()
        assert (error.code, len(found)) == (Code.DEADLINE_EXCEEDED, 1)
        await until(lambda: at.pipeline.talks == 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_takes_the_waiting_work_along(way: str, kind: str) -> None:
    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        yield from [RelayRequest(data=b"wait", times=9)] * 9

    async with place(way) as at, asyncio.timeout(20):
        async with aclosing(talk(at, kind, requests())) as parts:
            await anext(parts)
            await until(at.pipeline.began.is_set)
        await until(lambda: not at.server.service.waiting and at.pipeline.talks == 0)
        at.pipeline.gate.set()
        assert at.pipeline.ran <= 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_not_taken_is_not_asked_for(way: str, kind: str) -> None:
    asked = 0

    def requests() -> Iterator[RelayRequest]:
        nonlocal asked
        yield RelayRequest(data=b"wait")
        while asked < 2000:
            asked += 1
            yield RelayRequest(data=b"x" * 90_000)

    async with place(way) as at, asyncio.timeout(30), aclosing(talk(at, kind, requests())) as parts:
        first = asyncio.ensure_future(anext(parts))
        await until(at.pipeline.began.is_set)
        before = -1
        while asked > before:
            before = asked
            await asyncio.sleep(0.2)
        assert asked < 600  # of 180 MB: what the buffers of all that is between hold
        at.pipeline.gate.set()
        assert (await first).size == 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_overloaded_server_says_so(way: str, kind: str) -> None:
    async with place(way, BatchPolicy(lanes=1, queue_items=1)) as at, asyncio.timeout(20):
        running = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(at.pipeline.began.is_set)
        waiting = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(lambda: at.server.service.waiting)
        _, error = await failure(talk(at, kind, blocks(1)))
        assert error.code is Code.OVERLOADED
        at.pipeline.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(running, waiting)] == [200, 200]


@pytest.mark.parametrize("way", WAYS)
async def test_an_upload_to_an_overloaded_server_is_refused(way: str) -> None:
    async with place(way, BatchPolicy(lanes=1, queue_items=1)) as at, asyncio.timeout(20):
        running = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(at.pipeline.began.is_set)
        waiting = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(lambda: at.server.service.waiting)
        async with AsyncRestClient(f"http://127.0.0.1:{at.rest_port}", retry=NEVER) as client:
            with pytest.raises(ServingError) as caught:
                await client.call(RELAY, RelayRequest(data=b"x" * 20_000_000))
        assert caught.value.code is Code.OVERLOADED
        at.pipeline.gate.set()
        await asyncio.gather(running, waiting)
