"""HTTP lanes against servers that answer in pieces, too much, too little, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtests.bench import lanes as lanes_module
from loadtests.bench.lanes import HttpLanes, Log
from loadtests.bench.samples import Sample, wire

SAMPLES = [Sample(text, (text, 0.0)) for text in ("a", "naïve “quoted” café")]

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(text: str, head: bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\n\r\n") -> bytes:
    body = b'{"results": [{"text": "%b"}]}' % text.encode()
    return (head % len(body) if b"%d" in head else head) + body


async def asked(reader: asyncio.StreamReader) -> str:
    """The text of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
    return body.decode().removeprefix('{"text": "').removesuffix('"}')


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(run, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def seen(script: Script, in_flight: int = 2, seconds: float = 0.05) -> Log:
    async with scripted(script) as port:
        lanes = await HttpLanes.open(wire("echo"), SAMPLES, port, "/v1/echo", in_flight)
        log = Log(time.perf_counter() + seconds)
        async with asyncio.timeout(20):
            await lanes.run(log)
        lanes.check()
        await lanes.close()
    return log


async def test_right_answers_are_kept_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(answer(await asked(reader)))

    for keep in (lanes_module.KEEP, 100):  # checked after the window, and now and then within it
        monkeypatch.setattr(lanes_module, "KEEP", keep)
        log = await seen(script)
        assert (log.wrong, log.first_wrong) == (0, None)
        assert len(log.latencies) > 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 100), max_size=4), lower=st.booleans())
async def test_answers_in_pieces(cuts: list[int], *, lower: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            data = answer(await asked(reader))
            data = data.replace(b"Content-Length", b"content-length") if lower else data
            for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
                writer.write(data[start:end])
                await asyncio.sleep(0)

    log = await seen(script, in_flight=1, seconds=0.005)
    assert (log.wrong, log.first_wrong) == (0, None)
    assert len(log.latencies)


async def test_a_closed_connection_is_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")

    log = await seen(hang_up, seconds=0.2)
    assert log.wrong == len(log.latencies) == 2
    assert "closed the connection" in (log.first_wrong or "")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (answer("b"), "('b', 0.0) where"),
        (answer("a", b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n"), "HTTP b'503'"),
        (answer("a", b"HTTP/1.1 200 OK\r\n\r\n"), "not of the length"),
        (answer("a") + b" ", "not of the length"),
        (answer("a") + answer("a"), "unexpected body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "an answer past"),
    ],
)
async def test_wrong_answers_are_told(said: bytes, fault: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        await asyncio.sleep(0.05)  # so that the window is over, and this is all
        writer.write(said)
        await reader.read()

    log = await seen(script, in_flight=1, seconds=0.02)
    assert log.wrong == len(log.latencies) == 1
    assert fault in (log.first_wrong or "")


async def test_a_window_that_is_over_asks_for_nothing() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)

    assert not (await seen(script, seconds=0.0)).latencies


async def test_what_nobody_asked_for_is_told() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("a"))
        await reader.read()

    async with scripted(script) as port:
        lanes = await HttpLanes.open(wire("echo"), SAMPLES, port, "/v1/echo", 1)
        await asyncio.sleep(0.05)
        log = Log(time.perf_counter() + 1)
        await lanes.run(log)
        await lanes.close()
    assert (log.wrong, log.first_wrong) == (1, "the server sent what nobody had asked for")
