"""What only WebSockets can get wrong: handshakes, web pages from elsewhere, closes, pings, the server's end."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.core.catalog import BatchPolicy
from services.edges import endpoint
from services.edges.origins import Origins
from tests.relay import RELAY, STREAM_RELAY, RelayPipeline, serve_relay, until
from tests.serving import Server

Relay = tuple[Server, RelayPipeline]


@pytest.fixture(scope="module")
async def relay() -> AsyncIterator[Relay]:
    async with serve_relay(max_request_bytes=1000) as running:
        yield running


def url(server: Server, route: str = STREAM_RELAY.route) -> str:
    return f"ws://127.0.0.1:{server.settings.rest_port}{route}"


@asynccontextmanager
async def talk(server: Server, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(url(server), **options) as socket:
        yield socket


async def end_of(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """The error that ends a call, and the code it is closed with."""
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012
        while True:
            said = json.loads(await socket.recv())
    assert caught.value.rcvd
    return said.get("error", {}), caught.value.rcvd.code


async def test_text_and_bytes_are_requests_and_the_end_is_said(relay: Relay) -> None:
    server, pipeline = relay
    async with talk(server, additional_headers={"x-request-id": "mine"}) as socket:
        assert socket.response
        assert socket.response.headers["x-request-id"] == "mine"
        assert "sec-websocket-extensions" not in socket.response.headers
        await socket.send(json.dumps({"data": "YWJj", "words": ["a"]}))
        first = json.loads(await socket.recv())
        await socket.send(b"abcd")
        second = json.loads(await socket.recv())
        await socket.send('{"end": true}')
        assert (first["size"], first["words"], second["size"], second["words"]) == (3, ["a"], 4, [])
        assert await end_of_good(socket) == 1000
    assert pipeline.talks == 0


async def end_of_good(socket: ClientConnection) -> int:
    await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code


@pytest.mark.parametrize(
    ("sent", "code", "param", "closed"),
    [
        (['{"end":true}'], "INVALID_ARGUMENT", None, 1008),
        (["{"], "INVALID_ARGUMENT", None, 1008),
        ([b"a", '{"speed": 1}'], "INVALID_ARGUMENT", "speed", 1008),
        (['{"model": "nobody"}'], "NOT_FOUND", "model", 1008),
        ([b"a", b"x" * 1500], "TOO_LARGE", None, 1008),
        ([b"a", '{"words": ["' + "x" * 1500 + '"]}'], "TOO_LARGE", None, 1008),
        ([b"a", b"boom"], "INTERNAL", None, 1011),
    ],
)
async def test_what_is_wrong_ends_the_call(
    relay: Relay, sent: list[str | bytes], code: str, param: str | None, closed: int
) -> None:
    server, pipeline = relay
    async with talk(server) as socket:
        for one in sent:
            await socket.send(one)
        error, closed_with = await end_of(socket)
    assert (error["code"], error["param"], closed_with) == (code, param, closed)
    assert error["request_id"]
    await until(lambda: pipeline.talks == 0)


async def test_far_too_large_a_message_is_not_read(relay: Relay) -> None:
    async with talk(relay[0]) as socket:
        await socket.send(b"x" * 100_000)
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code in (1009, 1006)  # 1006: the connection was cut before its reason could be read


async def test_an_overloaded_server_says_so() -> None:
    policy = BatchPolicy(lanes=1, queue_items=1)
    async with serve_relay(policy) as (server, pipeline), talk(server) as running, talk(server) as waiting:
        await running.send(b"wait")
        await asyncio.to_thread(pipeline.began.wait)
        await waiting.send(b"wait")
        await until(lambda: server.service.waiting)
        async with talk(server) as late:
            error, closed = await end_of(late)
        assert (error["code"], closed) == ("OVERLOADED", 1013)
        pipeline.gate.set()


@pytest.mark.parametrize(
    ("settings", "words"), [({"idle_seconds": 0.2}, "Nothing came"), ({"max_stream_seconds": 0.3}, "deadline")]
)
async def test_a_client_that_stops_sending_is_not_waited_for(settings: Any, words: str) -> None:
    async with serve_relay(**settings) as (server, _), talk(server) as socket:
        await socket.send(b"a")
        error, closed = await end_of(socket)
        assert (error["code"], words in error["message"], closed) == ("DEADLINE_EXCEEDED", True, 1008)


async def test_a_deadline_of_the_callers_counts(relay: Relay) -> None:
    async with talk(relay[0], additional_headers={"x-request-timeout": "0.3"}) as socket:
        await socket.send(b"a")
        assert (await end_of(socket))[0]["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_leaves_takes_its_work_along(how: str) -> None:
    async with serve_relay() as (server, pipeline):
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        sockets = [await connect(url(server)) for _ in range(8)]
        for socket in sockets:
            await socket.send(json.dumps({"data": "d2FpdA==", "times": 5}))
        await until(lambda: server.service.waiting)
        for socket in sockets:
            await socket.close() if how == "close" else socket.transport.abort()
        await until(lambda: not server.service.waiting and pipeline.talks == 0)
        pipeline.gate.set()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert threading.active_count() <= threads
        assert b'outcome="cancelled",protocol="rest"' in server.meter.exposition()


async def test_a_sender_is_slowed_down_to_what_is_taken() -> None:
    async with serve_relay() as (server, pipeline), talk(server) as socket:
        await socket.send(b"wait")
        sent = await flood(socket)
        assert sent < 200  # 100 kB each: what the buffers of both ends hold
        pipeline.gate.set()
        socket.transport.abort()


async def flood(socket: ClientConnection) -> int:
    """How many messages could be sent before that took half a second."""
    for sent in range(1000):
        try:
            async with asyncio.timeout(0.5):
                await socket.send(b"x" * 100_000)
        except TimeoutError:
            return sent
    return 1000


async def test_a_reader_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "STALLED", 0.3)
    async with serve_relay() as (server, pipeline), talk(server, max_queue=1) as socket:
        await socket.send(json.dumps({"times": 1_000_000, "words": ["x" * 1000] * 100}))
        await until(lambda: pipeline.talks == 1)
        await until(lambda: pipeline.talks == 0)
        socket.transport.abort()


async def test_a_flood_of_pings_that_nobody_reads_is_bounded(relay: Relay) -> None:
    server, _ = relay
    reader, writer = await open_raw(server)
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    before = psutil.Process().memory_info().rss
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    frame = b"\x89\xfd\0\0\0\0" + b"x" * 125
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(2):
            for _ in range(100_000):
                writer.write(frame * 100)
                await writer.drain()
    assert psutil.Process().memory_info().rss - before < 50_000_000
    writer.transport.abort()


HANDSHAKE = (
    f"GET {STREAM_RELAY.route} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


async def open_raw(server: Server, more: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.rest_port)
    writer.write(f"{HANDSHAKE}{more}\r\n".encode())
    return reader, writer


@pytest.mark.parametrize(
    "more",
    [
        "X-Long: " + "y" * 9000 + "\r\n",
        "".join(f"X-{n}: y\r\n" for n in range(200)),
        "X-Very: " + "y" * 100_000 + "\r\n",
    ],
)
async def test_a_handshake_that_cannot_be_read_is_refused(relay: Relay, more: str) -> None:
    reader, writer = await open_raw(relay[0], more)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    writer.close()


async def test_unknown_routes_and_other_kinds_of_call_are_no_websockets(relay: Relay) -> None:
    for route in ("/v1/nothing", RELAY.route):
        with pytest.raises(InvalidStatus) as caught:
            await connect(url(relay[0], route))
        assert caught.value.response.status_code == 404
        assert json.loads(caught.value.response.body or b"")["error"]["code"] == "NOT_FOUND"
    assert (await relay[0].post(STREAM_RELAY.route, {})).status_code == 404


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:7860", True),
        ("http://127.0.0.1:1", True),
        ("https://[::1]", True),
        ("https://app.example.org", True),
        ("https://evil.example.org", False),
        ("http://localhost.evil.example.org", False),
        ("http://127.0.0.1@evil.example.org", False),
        ("http://rebound.example.org:8000", False),
        ("null", False),
        ("file://", False),
        ("http://[", False),
        ("", False),
    ],
)
async def test_web_pages_from_elsewhere_cannot_use_a_local_server(origin: str, allowed: bool) -> None:
    async with serve_relay(allowed_origins=("https://app.example.org",)) as (server, _):
        host = {"host": "rebound.example.org:8000"} if "rebound" in origin else {}
        try:
            async with talk(server, origin=origin, additional_headers=host) as socket:
                await socket.send(b"a")
                assert json.loads(await socket.recv())["size"] == 1
                found = True
        except InvalidStatus as error:
            assert error.response.status_code == 403
            assert json.loads(error.response.body or b"")["error"]["code"] == "PERMISSION_DENIED"
            found = False
        assert found is allowed


def test_a_public_server_trusts_its_own_pages() -> None:
    origins = Origins((), "0.0.0.0")
    assert origins.allow("https://chorale.example.org", "chorale.example.org")
    assert not origins.allow("https://evil.example.org", "chorale.example.org")
    assert not origins.allow("https://chorale.example.org:444", "chorale.example.org")


async def test_connections_past_the_limit_are_refused() -> None:
    async with serve_relay(max_connections=3) as (server, _):
        sockets = [await connect(url(server)) for _ in range(3)]
        with pytest.raises(InvalidStatus) as caught:
            await connect(url(server))
        assert caught.value.response.status_code == 503
        for socket in sockets:
            await socket.close()


async def test_a_server_that_ends_lets_calls_end_and_closes_those_that_do_not() -> None:
    async with serve_relay(drain_seconds=1) as (server, pipeline):
        ending, staying = await connect(url(server)), await connect(url(server))
        for socket in (ending, staying):
            await socket.send(b"a")
            await socket.recv()
        started = time.monotonic()

        async def end() -> int:
            await asyncio.sleep(0.5)
            await ending.send(b"abc")
            assert json.loads(await ending.recv())["size"] == 3
            await ending.send('{"end": true}')
            return await end_of_good(ending)

        last = asyncio.create_task(end())
        kept = asyncio.create_task(end_of_good(staying))
    assert (await last, await kept, pipeline.talks) == (1000, 1012, 0)
    assert time.monotonic() - started < 5
