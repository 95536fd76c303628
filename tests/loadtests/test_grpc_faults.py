"""gRPC lanes against servers that misbehave, or say what grpc's own says only now and then."""

import asyncio

import pytest

from loadtests.bench import grpc_lanes, http2
from loadtests.bench.grpc_lanes import GrpcLanes
from loadtests.bench.http2 import FrameReader, frame
from tests.loadtests.grpc_servers import ECHO, SETTINGS, answer, asked, response, samples, scripted, seen


async def test_a_window_that_is_given_back_is_the_one_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_lanes, "_GIVE_BACK", 100)
    granted: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        (stream,) = await asked(reader)
        writer.write(answer(stream, "a" * 200))
        frames = FrameReader()
        while not granted and (data := await reader.read(65536)):
            granted.extend(http2.read_number(p) for kind, _, _, p in frames.feed(data) if kind == http2.WINDOW_UPDATE)

    async with scripted(script) as port:
        await seen(port, samples("a" * 200), in_flight=1)
    assert granted == [len(response("a" * 200))]


async def test_a_connection_that_closes_midway_is_told() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        first, *_ = await asked(reader, 3)
        writer.write(answer(first, "a")[:-4])

    async with scripted(script) as port:
        log = await seen(port, samples("a"), in_flight=3, seconds=5.0)
    assert log.wrong == len(log.latencies) == 3
    assert "closed the connection" in (log.first_wrong or "")


async def test_goaway_ends_what_will_not_be_answered_and_waits_for_the_rest() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        first, second, _ = await asked(reader, 3)
        reason = (first).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"too much"
        writer.write(frame(http2.GOAWAY, 0, 0, reason))
        await asyncio.sleep(0.05)
        writer.write(answer(first, "a"))
        await reader.read()
        assert second

    async with scripted(script) as port:
        log = await seen(port, samples("a"), in_flight=3, seconds=5.0)
    assert len(log.latencies) == 4  # one answer, and three lanes that end
    assert log.wrong == 3
    assert "GOAWAY: ENHANCE_YOUR_CALM too much" in (log.first_wrong or "")


async def test_a_stream_that_is_reset_is_told_and_the_others_go_on() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        first, second = await asked(reader, 2)
        writer.write(answer(first, "a")[:20])
        await asyncio.sleep(0.2)
        writer.write(answer(first, "a")[20:] + frame(http2.RST_STREAM, 0, second, (7).to_bytes(4, "big")))
        writer.write(frame(http2.RST_STREAM, 0, first, bytes(4)))  # after its end: means nothing
        await reader.read()

    async with scripted(script) as port:
        log = await seen(port, samples("a"), in_flight=2)
    assert len(log.latencies) == 2
    assert (log.wrong, log.first_wrong) == (1, "the stream was reset: REFUSED_STREAM")


async def test_pings_and_settings_are_acknowledged() -> None:
    got: list[http2.Frame] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS + frame(http2.PING, 0, 0, b"12345678") + frame(0xEE, 0, 7, b"unknown"))
        await reader.readexactly(len(http2.PREFACE))
        frames = FrameReader()
        while data := await reader.read(65536):
            found = frames.feed(data)
            got.extend(found)
            for kind, flags, stream, _ in found:
                if kind == http2.DATA and flags & http2.END_STREAM:
                    writer.write(answer(stream, "a"))

    async with scripted(script) as port:
        log = await seen(port, samples("a"), in_flight=1, seconds=0.05)
    assert log.wrong == 0
    assert (http2.SETTINGS, http2.ACK, 0, b"") in got
    assert (http2.PING, http2.ACK, 0, b"12345678") in got


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 99, b"\x88"), "stream 99 ends"),
        (frame(http2.SETTINGS, 0, 0, b"123"), "SETTINGS of 3 bytes"),
        (b"x" * 40, "no HTTP/2"),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_told(said: bytes, fault: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        await asked(reader, 2)
        writer.write(said)
        await reader.read()

    async with scripted(script) as port:
        log = await seen(port, samples("a"), in_flight=2, seconds=5.0)
    assert log.wrong == len(log.latencies) == 2
    assert fault in (log.first_wrong or "")


@pytest.mark.parametrize(
    ("greeting", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no HTTP/2"),
        (b"", "closed the connection"),
        (http2.settings({http2.MAX_STREAMS: 3}), "allows 3 requests"),
    ],
)
async def test_a_server_that_cannot_be_measured_is_told(greeting: bytes, fault: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        await reader.readexactly(len(http2.PREFACE))

    async with scripted(script) as port:
        with pytest.raises(ConnectionError, match=fault):
            await GrpcLanes.open(ECHO, samples("a"), port, 4)
