"""The gateway's live calls, against a lane that misbehaves: what is tried again, and what a lost replica means."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.settings import Settings
from services.runtime.lane_backend import LaneBackend
from tests.served.relay import STREAM_RELAY, TASK, RelayRequest
from tests.serving import free_port

ANSWER = json.dumps({"model": "relay@1", "size": 1, "sum": 2})

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def lane(handler: Handler, refused: int = 0) -> AsyncIterator[tuple[LaneBackend, list[Any]]]:
    seen: list[Any] = []

    def first(connection: ServerConnection, request: Any) -> Any:
        seen.append(request)
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "") if len(seen) <= refused else None

    async with serve(handler, "127.0.0.1", 0, process_request=first) as server:
        backend = LaneBackend([TASK], Settings(rest_port=next(iter(server.sockets)).getsockname()[1]))
        try:
            yield backend, seen
        finally:
            await backend.close()


async def requests(count: int = 1) -> AsyncIterator[RelayRequest]:
    for _ in range(count):
        yield RelayRequest(data=b"a")


async def talk(backend: LaneBackend, seconds: float = 10, count: int = 1) -> list[Any]:
    context = CallContext("mine", "grpc", time.monotonic() + seconds)
    return [part async for part in backend.converse(TASK, STREAM_RELAY, requests(count), context)]  # type: ignore[arg-type]


async def good(connection: ServerConnection) -> None:
    async for message in connection:
        if isinstance(message, str):
            return
        await connection.send(ANSWER)


async def test_a_lane_that_is_not_there_yet_is_asked_again() -> None:
    async with lane(good, refused=2) as (backend, seen):
        assert [part.size for part in await talk(backend, count=3)] == [1, 1, 1]
        assert len(seen) == 3
        assert seen[-1].path == "/relay/v1/stream-relay"
        assert (seen[-1].headers["x-request-id"], seen[-1].headers["x-chorale-via"]) == ("mine", "grpc")
        assert 0 < float(seen[-1].headers["x-request-timeout"]) < 10


async def aborting(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.send(ANSWER)
    connection.transport.abort()


async def closing(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.close(1012)


async def refusing(connection: ServerConnection) -> None:
    error = {"message": "m", "type": "t", "param": "p", "code": "OVERLOADED", "request_id": "r"}
    await connection.send(json.dumps({"error": error}, separators=(",", ":")).replace('{"error":', '{"error": '))
    await connection.close(1013)


@pytest.mark.parametrize(
    ("handler", "code"), [(aborting, Code.UNAVAILABLE), (closing, Code.UNAVAILABLE), (refusing, Code.OVERLOADED)]
)
async def test_a_call_that_has_begun_is_not_begun_again(handler: Handler, code: Code) -> None:
    async with lane(handler) as (backend, seen):
        with pytest.raises(ServingError) as caught:
            await talk(backend)
        assert (caught.value.code, len(seen)) == (code, 1)


async def test_what_is_wrong_with_the_requests_ends_the_call_on_both_sides() -> None:
    closed = asyncio.Event()

    async def waiting(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.set()

    async def failing() -> AsyncIterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        raise ServingError(Code.INVALID_ARGUMENT, "no", "words")

    async with lane(waiting) as (backend, _):
        context = CallContext("mine", "grpc", time.monotonic() + 10)
        with pytest.raises(ServingError, match="no"):
            _ = [part async for part in backend.converse(TASK, STREAM_RELAY, failing(), context)]  # type: ignore[arg-type]
        await asyncio.wait_for(closed.wait(), 5)


async def test_tries_end_at_the_deadline() -> None:
    backend = LaneBackend([TASK], Settings(rest_port=free_port()))
    try:
        with pytest.raises(ServingError) as caught:
            await talk(backend, 0.4)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
    finally:
        await backend.close()
