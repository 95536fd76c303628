"""The gateway's tries: what it sends again, and what it never does, against a server that misbehaves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.settings import Settings
from services.edges.events import DONE, event
from services.runtime.lane_backend import LaneBackend
from services.tasks.echo import TASK
from services.tasks.echo.schema import EchoRequest
from tests.serving import free_port

REQUEST = EchoRequest(text=("hi",))
GOOD = json.dumps({"model": "echo@1", "usage": {"tokens": 0}, "results": [{"text": "hi"}]}).encode()
ONCE = replace(TASK.methods[0], idempotent=False)


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\n\r\n".encode() + body


def error(code: str) -> bytes:
    return json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": code, "request_id": "r"}}).encode()


Script = Callable[[int], bytes | None]
"""What the n-th request is answered; None closes the connection."""


@asynccontextmanager
async def lane(script: Script) -> AsyncIterator[tuple[LaneBackend, list[bytes]]]:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if heads[-1].startswith(b"POST"):
            await reader.read(1000)
        if (said := script(len(heads))) is not None:
            writer.write(said)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = LaneBackend([TASK], Settings(rest_port=port))
    try:
        yield backend, heads
    finally:
        await backend.close()
        server.close()


def context(seconds: float = 10) -> CallContext:
    return CallContext("id", "grpc", time.monotonic() + seconds)


@pytest.mark.parametrize("bad", [None, answer("503 x", error("UNAVAILABLE")), b"HTTP/1.1 200 OK\r\ncontent-len"])
async def test_a_lost_call_is_sent_again(bad: bytes | None) -> None:
    async with lane(lambda n: bad if n < 3 else answer("200 OK", GOOD)) as (backend, heads):
        response = await backend.infer(TASK, TASK.methods[0], REQUEST, context())
        assert response.results[0].text == "hi"  # type: ignore[attr-defined]
        assert len(heads) == 3
        timeouts = [float(head.lower().split(b"x-request-timeout: ")[1].split(b"\r")[0]) for head in heads]
        assert timeouts == sorted(timeouts, reverse=True)  # each try has what is left


@pytest.mark.parametrize("bad", [None, answer("503 x", error("UNAVAILABLE"))])
async def test_a_call_that_may_not_be_answered_twice_is_sent_once(bad: bytes | None) -> None:
    async with lane(lambda _: bad) as (backend, heads):
        with pytest.raises(ServingError) as caught:
            await backend.infer(TASK, ONCE, REQUEST, context())
        assert (caught.value.code, len(heads)) == (Code.UNAVAILABLE, 1)


@pytest.mark.parametrize(
    ("status", "code"), [("429 x", "OVERLOADED"), ("400 x", "INVALID_ARGUMENT"), ("500 x", "INTERNAL")]
)
async def test_an_answer_is_an_answer(status: str, code: str) -> None:
    async with lane(lambda _: answer(status, error(code))) as (backend, heads):
        with pytest.raises(ServingError) as caught:
            await backend.infer(TASK, TASK.methods[0], REQUEST, context())
        assert (caught.value.code, len(heads)) == (Code(code), 1)


async def test_tries_end_at_the_deadline() -> None:
    async with lane(lambda _: None) as (backend, _):
        started = time.monotonic()
        with pytest.raises(ServingError) as caught:
            await backend.infer(TASK, TASK.methods[0], REQUEST, context(0.4))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert time.monotonic() - started < 1


async def test_nobody_there_is_unavailable_after_all_tries() -> None:
    backend = LaneBackend([TASK], Settings(rest_port=free_port()))
    try:
        with pytest.raises(ServingError) as caught:
            await backend.infer(TASK, ONCE, REQUEST, context(10))  # a connection never made has done no harm
        assert (caught.value.code, caught.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    finally:
        await backend.close()


async def test_health_is_told_before_readiness_is() -> None:
    told: list[tuple[bool, bool]] = []
    async with lane(lambda n: answer("503 x" if n == 1 else "200 OK", b"{}")) as (backend, _):

        async def tell(serving: bool) -> None:
            told.append((serving, (await backend.ready())["echo"]))

        async with asyncio.timeout(5):
            watching = asyncio.create_task(backend.watch(tell))
            while not (await backend.ready())["echo"]:
                await asyncio.sleep(0.01)
            watching.cancel()
    assert told == [(False, False), (True, False)]


STREAM = TASK.methods[1]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PART = event(b'{"model": "echo@1", "usage": {"tokens": 0}, "text": "hi"}')


async def collect(backend: LaneBackend, seconds: float = 10) -> tuple[list[str], Code | None]:
    found: list[str] = []
    try:
        async for part in backend.stream(TASK, STREAM, REQUEST, context(seconds)):
            found.append(part.text)  # type: ignore[attr-defined]  # noqa: PERF401
    except ServingError as error:
        return found, error.code
    return found, None


async def test_a_stream_goes_through() -> None:
    async with lane(lambda _: STREAM_HEAD + PART * 3 + event(DONE)) as (backend, heads):
        assert await collect(backend) == (["hi"] * 3, None)
        assert len(heads) == 1


@pytest.mark.parametrize("bad", [None, answer("503 x", error("UNAVAILABLE")), STREAM_HEAD, STREAM_HEAD + PART[:9]])
async def test_a_stream_lost_before_its_first_part_is_begun_again(bad: bytes | None) -> None:
    async with lane(lambda n: bad if n < 3 else STREAM_HEAD + PART + event(DONE)) as (backend, heads):
        assert await collect(backend) == (["hi"], None)
        assert len(heads) == 3


async def test_a_stream_that_is_cut_is_not_begun_again() -> None:
    async with lane(lambda _: STREAM_HEAD + PART) as (backend, heads):
        assert await collect(backend) == (["hi"], Code.UNAVAILABLE)
        assert len(heads) == 1


async def test_errors_of_a_stream() -> None:
    for said, parts in (
        (answer("429 x", error("OVERLOADED")), []),
        (STREAM_HEAD + PART + event(error("OVERLOADED")), ["hi"]),
    ):
        async with lane(lambda _, said=said: said) as (backend, _):  # type: ignore[misc]
            assert await collect(backend) == (parts, Code.OVERLOADED)
