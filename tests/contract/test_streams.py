"""Streamed answers: each part as soon as it is there, in order, alike through every client; and what ends them."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from services.clients import (
    AsyncGrpcClient,
    AsyncRestClient,
    Code,
    GrpcClient,
    RestClient,
    ServingError,
)
from services.core.context import CallContext
from services.core.telemetry import REQUEST_SECONDS
from services.edges import endpoint, protobuf
from services.engines.echo import EchoEngine
from services.tasks.echo import ECHO, STREAM_ECHO, TASK, EchoPart, EchoRequest
from tests.reading import read
from tests.serving import Server, serve

KINDS = ("rest", "async rest", "grpc", "async grpc")
TEXTS = ("one", "two", "three")
PATIENCE = 20.0


class HeldEcho(EchoEngine):
    """Holds ``wait`` until its gate opens, and fails on ``boom``."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def run(self, batch: Sequence[Any]) -> Sequence[Any]:
        if "boom" in batch:
            raise RuntimeError("boom")
        if "wait" in batch:
            assert self.gate.wait(PATIENCE)
        return batch


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[tuple[Server, HeldEcho]]:
    engine = HeldEcho()
    async with serve(tmp_path, echo_engine=engine) as server:
        yield server, engine
        engine.gate.set()


def make_client(server: Server, kind: str) -> Any:
    url, address = f"http://127.0.0.1:{server.settings.rest_port}", f"127.0.0.1:{server.settings.grpc_port}"
    match kind:
        case "rest":
            return RestClient(url)
        case "async rest":
            return AsyncRestClient(url)
        case "grpc":
            return GrpcClient(address)
        case _:
            return AsyncGrpcClient(address)


def parts_of(server: Server, kind: str, texts: Sequence[str], **options: Any) -> AsyncIterator[EchoPart]:
    """The stream of any client, read from asyncio."""
    client = make_client(server, kind)
    return read(client, client.stream(STREAM_ECHO, EchoRequest(text=tuple(texts)), **options))


async def collected(parts: AsyncIterator[EchoPart]) -> tuple[list[str], ServingError]:
    """What came before the error, and the error."""
    found: list[str] = []
    try:
        async for part in parts:
            found.append(part.text)  # noqa: PERF401  # kept when it raises
    except ServingError as error:
        return found, error
    pytest.fail("no error")


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_part_in_order(held: tuple[Server, HeldEcho], kind: str) -> None:
    server, _ = held
    texts = [f"text {number} \u00fc\n\n\x01 data: x" for number in range(200)]
    found = [part async for part in parts_of(server, kind, texts)]
    assert [part.text for part in found] == texts
    assert {part.model for part in found} == {"echo@1"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_part_comes_before_the_next_is_there(held: tuple[Server, HeldEcho], kind: str) -> None:
    server, engine = held
    async with asyncio.timeout(PATIENCE), aclosing(parts_of(server, kind, ["a", "wait", "b"])) as parts:
        assert (await anext(parts)).text == "a"
        assert not engine.gate.is_set()
        engine.gate.set()
        assert [part.text async for part in parts] == ["wait", "b"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_on_the_way_comes_after_the_parts_before_it(held: tuple[Server, HeldEcho], kind: str) -> None:
    server, _ = held
    found, error = await collected(parts_of(server, kind, ["a", "b", "boom", "c"]))
    assert error.code is Code.INTERNAL
    # grpc drops messages that its reader has not taken when an error overtakes them.
    assert found == ["a", "b"] or ("grpc" in kind and found == ["a", "b"][: len(found)])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_a_stream(held: tuple[Server, HeldEcho], kind: str) -> None:
    server, _ = held
    found, error = await collected(parts_of(server, kind, ["a", "wait", "c"], timeout=0.5))
    assert (error.code, found) == (Code.DEADLINE_EXCEEDED, ["a"])


@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_takes_the_waiting_work_along(held: tuple[Server, HeldEcho], kind: str) -> None:
    server, engine = held
    async with aclosing(parts_of(server, kind, ["a", *["wait"] * 50])) as parts:
        await anext(parts)
    await until(lambda: not server.service.waiting)
    assert not engine.gate.is_set()
    engine.gate.set()
    await until(lambda: b'protocol="rest"' in outcomes(server) or b'protocol="grpc"' in outcomes(server))
    assert b'outcome="cancelled"' in outcomes(server)


def outcomes(server: Server) -> bytes:
    lines = server.meter.exposition().splitlines()
    return b"\n".join(line for line in lines if line.startswith(REQUEST_SECONDS.name.encode() + b"_count"))


async def test_before_the_first_part_an_error_is_an_ordinary_one(held: tuple[Server, HeldEcho]) -> None:
    server, _ = held
    for body, code in (({"text": "a", "model": "nobody"}, "NOT_FOUND"), ({"text": ""}, "INVALID_ARGUMENT")):
        answer, whole = await server.post(STREAM_ECHO.route, body), await server.post(ECHO.route, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (whole.status_code, code)
        assert answer.headers["content-type"] == "application/json"
    message = protobuf.message_class(TASK, EchoRequest)(text=["a"], model="nobody").SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(server.channel.unary_stream(TASK.rpc(STREAM_ECHO))(message)))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert dict(caught.value.trailing_metadata() or ())["x-chorale-code"] == "NOT_FOUND"


async def test_what_is_on_the_wire(held: tuple[Server, HeldEcho]) -> None:
    server, _ = held
    answer = await server.post(STREAM_ECHO.route, {"text": ["a", "boom"]}, headers={"x-request-id": "mine"})
    first, second, end = answer.content.split(b"\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-request-id"] == "mine"
    assert json.loads(first.removeprefix(b"data: ")) == {"model": "echo@1", "usage": {"tokens": 0}, "text": "a"}
    error = json.loads(second.removeprefix(b"data: "))["error"]
    assert (error["code"], error["request_id"], end) == ("INTERNAL", "mine", b"")
    good = await server.post(STREAM_ECHO.route, {"text": "a"})
    assert good.content.endswith(b"\n\ndata: [DONE]\n\n")


async def test_a_reader_that_stops_is_not_waited_for(
    held: tuple[Server, HeldEcho], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = held
    monkeypatch.setattr(endpoint, "STALLED", 0.3)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.settings.rest_port))
    _, writer = await asyncio.open_connection(sock=sock, limit=1024)
    body = json.dumps({"text": ["x" * 60_000] * 120}).encode()
    head = f"POST {STREAM_ECHO.route} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await until(lambda: b'outcome="cancelled"' in outcomes(server))
    writer.close()


async def test_in_process_it_is_the_same(held: tuple[Server, HeldEcho]) -> None:
    server, _ = held
    context = CallContext("id", "local", float("inf"))
    parts = server.service.stream(TASK, STREAM_ECHO, EchoRequest(text=TEXTS), context)
    assert [part.text async for part in parts] == list(TEXTS)  # type: ignore[attr-defined]


async def test_a_whole_answer_and_a_stream_share_a_queue(held: tuple[Server, HeldEcho]) -> None:
    server, engine = held
    stream = asyncio.create_task(server.post(STREAM_ECHO.route, {"text": ["wait"] * 40}))
    key = server.service._keys["echo", "Echo"][0]
    await until(lambda: 0 < server.service._batcher.depth(key) < 20)  # both lanes are held
    before = server.service._batcher.depth(key)
    whole = asyncio.create_task(server.post(ECHO.route, {"text": ["wait"]}))
    await until(lambda: server.service._batcher.depth(key) == before + 1)
    engine.gate.set()
    answers = [answer.status_code for answer in await asyncio.gather(stream, whole)]
    assert answers == [httpx.codes.OK] * 2


async def test_a_grpc_reader_that_stops_is_not_waited_for(
    held: tuple[Server, HeldEcho], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = held
    monkeypatch.setattr(endpoint, "STALLED", 0.3)
    message = protobuf.message_class(TASK, EchoRequest)(text=["x" * 60_000] * 120).SerializeToString()
    call = server.channel.unary_stream(TASK.rpc(STREAM_ECHO))(message)
    assert await call.read()
    await until(lambda: b'outcome="cancelled"' in outcomes(server))
    call.cancel()
