"""Clients that mean no good, or have died: each is refused or outlived, and others are served meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest

from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest
from services.pb.chorale.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.serving import GatedEncoder, Server, serve

ECHO = "/chorale.echo.v1.EchoService/Echo"
CLASSIFY = "/chorale.classification.v1.ClassificationService/Classify"
HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = {"header_seconds": 1.0, "default_timeout": 2.0, "max_header_bytes": 20_000}
    async with serve(tmp_path_factory.mktemp("hostile"), **settings) as running:
        yield running


async def connect(server: Server, port: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port or server.settings.rest_port)


def request(text: str) -> bytes:
    body = json.dumps({"text": text}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return int(head.split()[1]), await reader.readexactly(length)


async def others_are_served(server: Server) -> None:
    assert (await server.post("/v1/echo", {"text": "still here"})).json()["results"] == [{"text": "still here"}]
    answer = await server.rpc(ECHO, EchoRequest(text=["still here"]).SerializeToString(), timeout=5)
    assert EchoResponse.FromString(answer).results[0].text == "still here"


@pytest.mark.parametrize(
    "start",
    [b"", b"POST /v1/ec", HEAD, HEAD + b"X-Slow: "],
    ids=["nothing", "half a line", "half the head", "half a header"],
)
async def test_a_client_that_stops_within_its_head_is_hung_up_on(server: Server, start: bytes) -> None:
    reader, writer = await connect(server)
    writer.write(start)
    started = time.monotonic()
    await others_are_served(server)
    assert await asyncio.wait_for(reader.read(), 5) == b""  # closed
    assert 0.5 < time.monotonic() - started < 4
    writer.close()


async def test_a_head_that_comes_drop_by_drop_is_hung_up_on(server: Server) -> None:
    reader, writer = await connect(server)
    with pytest.raises(ConnectionError):  # noqa: PT012
        for _ in range(100):
            writer.write(b"POST /v1/echo HTTP/1.1\r\n"[:1] if _ == 0 else b"O")
            await writer.drain()
            await asyncio.sleep(0.05)
            if reader.at_eof():
                raise ConnectionError
    writer.close()


async def test_half_a_body_is_answered_at_the_deadline(server: Server) -> None:
    reader, writer = await connect(server)
    writer.write(HEAD + b'Content-Length: 100\r\n\r\n{"text"')
    status, body = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, json.loads(body)["error"]["code"]) == (408, "DEADLINE_EXCEEDED")
    await others_are_served(server)
    writer.close()


@pytest.mark.parametrize(
    "headers",
    [b"".join(b"X-%d: y\r\n" % n for n in range(10_000)), b"X-Long: " + b"y" * 1_000_000 + b"\r\n"],
    ids=["10,000 headers", "one of 1 MB"],
)
async def test_a_flood_of_headers_is_refused(server: Server, headers: bytes) -> None:
    reader, writer = await connect(server)
    writer.write(HEAD + headers + b"Content-Length: 2\r\n\r\n{}")
    status, body = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, json.loads(body)["error"]["code"]) == (431, "TOO_LARGE")
    assert "20000 bytes" in json.loads(body)["error"]["message"]
    await others_are_served(server)
    writer.close()


async def test_a_large_body_is_not_mistaken_for_a_head(server: Server) -> None:
    answer = await server.post("/v1/echo", {"text": "x" * 1_000_000})
    assert len(answer.json()["results"][0]["text"]) == 1_000_000


async def test_what_is_no_http_is_told_in_the_native_shape(server: Server) -> None:
    reader, writer = await connect(server)
    writer.write(b"\x16\x03\x01 this is TLS\r\n\r\n")
    status, body = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, json.loads(body)["error"]["code"]) == (400, "INVALID_ARGUMENT")
    writer.close()


async def test_a_flood_of_metadata_is_refused(server: Server) -> None:
    metadata = tuple((f"x-{n}", "y" * 100) for n in range(1000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(ECHO, EchoRequest(text=["a"]).SerializeToString(), metadata=metadata, timeout=5)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await others_are_served(server)


@pytest.mark.parametrize(
    "start", [b"", b"PRI * HTTP/2", b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "half", "HTTP/1.1"]
)
async def test_half_a_grpc_preface_is_hung_up_on(server: Server, start: bytes) -> None:
    reader, writer = await connect(server, server.settings.grpc_port)
    writer.write(start)
    await others_are_served(server)
    await asyncio.wait_for(until_closed(reader), 10)
    writer.close()


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass


async def test_a_stream_that_never_sends_its_message_ends_at_its_deadline(server: Server) -> None:
    call = server.channel.stream_unary(ECHO)(timeout=1)
    await others_are_served(server)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await others_are_served(server)


async def test_a_thousand_connections_are_all_answered(server: Server) -> None:
    pairs = await asyncio.gather(*(connect(server) for _ in range(1000)))
    for number, (_, writer) in enumerate(pairs):
        writer.write(request(f"caller {number}"))
    answers = await asyncio.wait_for(asyncio.gather(*(read_answer(reader) for reader, _ in pairs)), 30)
    texts = [json.loads(body)["results"][0]["text"] for status, body in answers if status == 200]
    assert texts == [f"caller {number}" for number in range(1000)]
    for _, writer in pairs:
        writer.close()


async def test_connections_past_the_limit_are_refused_and_the_server_recovers(tmp_path: Path) -> None:
    async with serve(tmp_path, max_connections=20) as server:
        pairs = [await connect(server) for _ in range(20)]
        reader, writer = await connect(server)
        status, body = await asyncio.wait_for(read_answer(reader), 5)
        assert (status, json.loads(body)["error"]["code"]) == (503, "UNAVAILABLE")
        for _, one in [*pairs, (reader, writer)]:
            one.close()
        await asyncio.sleep(0.1)
        await others_are_served(server)


async def test_a_client_that_never_reads_costs_bounded_memory(server: Server) -> None:
    _, writer = await connect(server)
    before = psutil.Process().memory_info().rss
    sending = asyncio.create_task(send_without_reading(writer))
    call = server.channel.unary_unary(ECHO)
    calls = [call(EchoRequest(text=["x" * 500_000]).SerializeToString(), timeout=3) for _ in range(20)]
    for _ in range(10):
        await others_are_served(server)
        await asyncio.sleep(0.1)
    assert psutil.Process().memory_info().rss - before < 150_000_000  # of 200 MB asked for, and both ends are here
    sending.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    writer.transport.abort()


async def send_without_reading(writer: asyncio.StreamWriter) -> None:
    for _ in range(200):
        writer.write(request("x" * 1_000_000))
        await writer.drain()


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
async def test_a_deadline_shorter_than_the_queue_is_kept_and_the_work_never_runs(tmp_path: Path, protocol: str) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine) as server:
        busy = [asyncio.create_task(server.post("/v1/classify", {"text": "busy"})) for _ in range(2)]
        await asyncio.to_thread(engine.started.wait, 5)
        await asyncio.sleep(0.05)
        started = time.monotonic()
        if protocol == "REST":
            answer = await server.post("/v1/classify", {"text": "late"}, headers={"x-request-timeout": "0.3"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (408, "DEADLINE_EXCEEDED")
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await server.rpc(CLASSIFY, ClassifyRequest(text=["late"]).SerializeToString(), timeout=0.3)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.2 < time.monotonic() - started < 1
        engine.gate.set()
        assert [(await one).status_code for one in busy] == [200, 200]
        assert engine.ran == 2


async def test_a_jump_of_the_wall_clock_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    for jump in (86_400.0, -86_400.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
        answer = await server.post("/v1/echo", {"text": "a"}, headers={"x-request-timeout": "5"})
        assert answer.status_code == 200
        # Without a deadline of its own: the client here, in the same process, reckons that by the wall clock.
        await server.rpc(ECHO, EchoRequest(text=["a"]).SerializeToString())


def test_no_deadline_is_kept_by_the_wall_clock() -> None:
    folder = Path(__file__).parents[2] / "services"
    assert [path.name for path in folder.rglob("*.py") if "time.time()" in path.read_text()] == []
