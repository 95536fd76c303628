"""Requests kept in flight: a lane sends a request, waits for the whole answer, checks it, and sends the next.

HTTP lanes have a connection each (HTTP/1.1, keep-alive); gRPC lanes share one HTTP/2 connection, as gRPC clients do.
A request's latency ends when its last byte is here; checking the answer is not part of it.
"""

import asyncio
from array import array
from collections.abc import Iterator, Sequence
from itertools import cycle
from time import perf_counter
from typing import Any, Protocol, Self, cast

import grpc

from loadtests.bench.samples import Sample, Wire, wrong_body, wrong_message

PATIENCE = 30.0
"""Seconds after which an answer is not waited for any longer."""


class Log:
    """Latencies and wrong answers of one window, which ends at ``until``."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.latencies = array("d")
        self.wrong = 0
        self.first_wrong: str | None = None

    def add(self, seconds: float, fault: str | None) -> None:
        """An answer came, or failed to."""
        self.latencies.append(seconds)
        if fault is not None:
            self.wrong += 1
            self.first_wrong = self.first_wrong or fault


class Lanes(Protocol):
    """A number of lanes to one address."""

    async def run(self, log: Log) -> None:
        """Keep all lanes busy until the window ends, then wait for what is in flight."""

    async def close(self) -> None:
        """Hang up."""


class _HttpLane(asyncio.Protocol):
    """One connection. Runs in callbacks: no task, no stream, no future per request."""

    def __init__(self, wire: Wire, requests: Iterator[tuple[Sample, bytes]]) -> None:
        self._wire = wire
        self._requests = requests
        self._buffer = bytearray()
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def start(self, log: Log) -> asyncio.Future[None]:
        """Begin; the future is done when the window has ended and nothing is in flight."""
        self._log = log
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    def hang_up(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _next(self) -> None:
        self._started = perf_counter()
        if self._gone:
            self._end("the server had closed the connection")
        elif self._started >= self._log.until:
            self._end()
        else:
            self._send()

    def _end(self, fault: str | None = None) -> None:
        if fault:
            self._log.add(perf_counter() - self._started, fault)
        self._done.set_result(None)

    def _send(self) -> None:
        self._sample, request = next(self._requests)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _content_length(self._buffer[:head].lower())
        if len(self._buffer) < head + 4 + length:
            return
        seconds = perf_counter() - self._started
        status, body = bytes(self._buffer[9:12]), bytes(self._buffer[head + 4 : head + 4 + length])
        fault = wrong_body(self._wire, self._sample, body) if status == b"200" else f"HTTP {status!r}: {body[:200]!r}"
        self._buffer.clear()
        self._log.add(seconds, fault)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if hasattr(self, "_done") and not self._done.done():
            self._end(f"the server closed the connection ({exc})")


def _content_length(head: bytearray) -> int:
    """0 when there is none: such an answer fails the check of its body."""
    found = head.find(b"content-length:")
    return int(head[found + 15 :].split(b"\r\n", 1)[0]) if found >= 0 else 0


class HttpLanes:
    """``in_flight`` keep-alive connections."""

    def __init__(self, lanes: Sequence[_HttpLane]) -> None:
        self._lanes = lanes

    @classmethod
    async def open(cls, wire: Wire, samples: Sequence[Sample], port: int, path: str, in_flight: int) -> Self:
        """Connect to ``127.0.0.1:port``.

        Raises:
            OSError: nothing listens there.
        """
        requests = cycle([(sample, _http_request(path, wire.body(sample))) for sample in samples])
        loop = asyncio.get_running_loop()
        pairs = [
            await loop.create_connection(lambda: _HttpLane(wire, requests), "127.0.0.1", port) for _ in range(in_flight)
        ]
        return cls([lane for _, lane in pairs])

    async def run(self, log: Log) -> None:
        """Until the window ends."""
        await asyncio.gather(*(lane.start(log) for lane in self._lanes))

    async def close(self) -> None:
        """Hang up."""
        for lane in self._lanes:
            lane.hang_up()


def _http_request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class GrpcLanes:
    """``in_flight`` calls at a time over one channel."""

    def __init__(self, wire: Wire, samples: Sequence[Sample], port: int, in_flight: int) -> None:
        self._wire = wire
        self._in_flight = in_flight
        self._requests = cycle([(sample, wire.message(sample)) for sample in samples])
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._call: Any = self._channel.unary_unary(
            wire.rpc, request_serializer=bytes, response_deserializer=wire.response_class.FromString
        )

    async def run(self, log: Log) -> None:
        """Until the window ends."""
        await asyncio.gather(*(self._lane(log) for _ in range(self._in_flight)))

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close(None)

    async def _lane(self, log: Log) -> None:
        while (started := perf_counter()) < log.until:
            sample, request = next(self._requests)
            try:
                message = await self._call(request, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                log.add(perf_counter() - started, f"gRPC {error.code().name}: {error.details()}")
                await asyncio.sleep(0.001)  # a refused call ends at once: do not spin on it
                continue
            seconds = perf_counter() - started
            log.add(seconds, wrong_message(self._wire, sample, message))
