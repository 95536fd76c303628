"""What only gRPC can get wrong in a live call: half-closes, flow control, aborts, and what they leave behind."""

import asyncio
import threading
from typing import Any

import grpc
import pytest

from services.edges import protobuf
from tests.relay import STREAM_RELAY, TASK, RelayPart, RelayRequest, serve_relay, until
from tests.serving import Server

REQUEST = protobuf.message_class(TASK, RelayRequest)
PART = protobuf.message_class(TASK, RelayPart)


def message(data: bytes = b"", **fields: Any) -> bytes:
    return REQUEST(data=data, **fields).SerializeToString()


def talk(server: Server, **options: Any) -> Any:
    return server.channel.stream_stream(TASK.rpc(STREAM_RELAY))(**options)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code(), caught.value.details() or ""


async def test_answers_come_while_requests_still_do() -> None:
    async with serve_relay() as (server, pipeline):
        call = talk(server)
        for size in (1, 20, 300):
            await call.write(message(b"x" * size))
            assert PART.FromString(await call.read()).size == size
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert pipeline.talks == 0


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "before its first message"),
        ([b"\xff\xff"], grpc.StatusCode.INVALID_ARGUMENT, "RelayRequest"),
        ([message(b"a"), message(b"b", tone="shrill")], grpc.StatusCode.INVALID_ARGUMENT, "tone"),
        ([message(b"a", model="nobody")], grpc.StatusCode.NOT_FOUND, "nobody"),
        ([message(b"a"), message(b"x" * 1500)], grpc.StatusCode.RESOURCE_EXHAUSTED, "1000 bytes"),
        ([message(b"a"), message(b"boom")], grpc.StatusCode.INTERNAL, "engine failed"),
    ],
    ids=["no message", "no such message", "a bad field", "no such model", "too large", "a failing engine"],
)
async def test_what_is_wrong_ends_the_call(sent: list[bytes], code: grpc.StatusCode, words: str) -> None:
    async with serve_relay(max_request_bytes=1000) as (server, pipeline):
        call = talk(server)
        for one in sent:
            await call.write(one)
        await call.done_writing()
        found, details = await code_of(call)
        assert (found, words in details) == (code, True), details
        await until(lambda: pipeline.talks == 0)


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [({"idle_seconds": 0.2}, {}, "Nothing came for 0.2"), ({"max_stream_seconds": 0.3}, {}, "deadline")],
)
async def test_a_client_that_stops_sending_is_not_waited_for(settings: Any, options: Any, words: str) -> None:
    async with serve_relay(**settings) as (server, pipeline):
        call = talk(server, **options)
        await call.write(message(b"a"))
        found, details = await code_of(call)
        assert (found, words in details) == (grpc.StatusCode.DEADLINE_EXCEEDED, True), details
        await until(lambda: pipeline.talks == 0)


async def test_a_client_that_leaves_takes_its_work_along() -> None:
    async with serve_relay() as (server, pipeline):
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        calls = [talk(server) for _ in range(8)]
        for call in calls:
            await call.write(message(b"wait", times=5))
        await until(lambda: server.service.waiting)
        for call in calls:
            call.cancel()
        await until(lambda: not server.service.waiting and pipeline.talks == 0)
        pipeline.gate.set()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert threading.active_count() <= threads
        assert b'outcome="cancelled",protocol="grpc"' in server.meter.exposition()


async def test_a_sender_is_slowed_down_to_what_is_taken() -> None:
    async with serve_relay() as (server, pipeline):
        call = talk(server)
        await call.write(message(b"wait"))
        sent = await flood(call)
        pipeline.gate.set()
        call.cancel()
        assert sent < 200  # 100 kB each: what the windows and buffers of both ends hold


async def flood(call: Any) -> int:
    """How many messages could be sent before that took half a second."""
    for sent in range(1000):
        try:
            async with asyncio.timeout(0.5):
                await call.write(message(b"x" * 100_000))
        except TimeoutError:
            return sent
    return 1000
