"""gRPC requests kept in flight, by a client with next to no cost of its own: HTTP/2 frames in callbacks.

While a window runs, frames are only cut and kept; headers, statuses and messages are read when it has closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from time import perf_counter
from typing import Self, cast

from google.protobuf.message import DecodeError

from loadtests.bench import http2
from loadtests.bench.grpc_answers import AnswerReader
from loadtests.bench.http2 import ACK, END_STREAM, HEADERS, LARGEST_WINDOW, Frame, FrameReader, Http2Error
from loadtests.bench.http2_outbox import Headers, Outbox
from loadtests.bench.lanes import KEEP, PATIENCE, Log
from loadtests.bench.samples import Sample, Wire, wrong_message

CONNECTIONS = 1
"""Connections that share the requests in flight: one, as a gRPC channel has."""

_GREETING = (
    http2.PREFACE
    + http2.settings({http2.ENABLE_PUSH: 0, http2.INITIAL_WINDOW: LARGEST_WINDOW})
    + http2.window_update(0, LARGEST_WINDOW - http2.FIRST_WINDOW)
)
_GIVE_BACK = 1 << 30
"""Bytes of answers after which the connection's window is opened again."""

Judge = Callable[[int, bytes], str | None]
"""What is wrong with the message that answers a sample, or None."""


class _Connection(asyncio.Protocol):
    """One connection: its n-th request, from 0, is stream 2n + 1 and asks for the n-th sample, round and round."""

    def __init__(self, headers: Headers, bodies: Sequence[bytes], judge: Judge) -> None:
        self._bodies = bodies
        self._judge = judge
        self._reader = FrameReader()
        self._answers = AnswerReader()
        self._outbox = Outbox(headers)
        self._frames: list[Frame] = []
        self._kept = 0
        self._given_back = 0
        self._started: dict[int, float] = {}
        self._stream = 1
        self._gone = ""
        self._log = Log(0.0)
        self._done: asyncio.Future[None] | None = None
        self.settings: asyncio.Future[dict[int, int]] = asyncio.get_running_loop().create_future()
        """The server's, when they are here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_GREETING)

    def start(self, log: Log, in_flight: int) -> asyncio.Future[None]:
        """Begin; the future is done when the window has ended and nothing is in flight."""
        self._log = log
        self._done = asyncio.get_running_loop().create_future()
        now = perf_counter()
        for _ in range(in_flight):
            self._ask(now)
        self._finish()
        return self._done

    def check(self) -> None:
        """Tell the log what was wrong with the answers since the last check."""
        wrong = cache(self._judge)  # most are the same bytes again
        for answer in self._answers.read(self._frames):
            index = (answer.stream >> 1) % len(self._bodies)
            if fault := answer.fault or wrong(index, answer.message):
                self._log.fault(fault)
        self._frames.clear()
        self._kept = 0

    def hang_up(self) -> None:
        """Close the connection."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        try:
            for frame in self._reader.feed(data):
                kind, flags, stream, _ = frame
                if kind > HEADERS:
                    self._control(frame, now)
                    continue
                if flags & END_STREAM:
                    self._ended(stream, now)
                self._frames.append(frame)
        except Http2Error as error:
            self._gone = f"broken HTTP/2: {error}"
            self._transport.abort()
            return
        self._kept += len(data)
        if self._kept > KEEP:
            self.check()
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = self._gone or f"the server closed the connection ({exc})"
        self._lose([*self._started])
        self._finish()
        if not self.settings.done():
            self.settings.set_exception(ConnectionError(self._gone))

    def _ask(self, now: float) -> None:
        if self._gone:
            self._log.lost(0.0, self._gone)
        elif now < self._log.until:
            stream = self._stream
            self._stream += 2
            self._started[stream] = now
            self._outbox.request(stream, self._bodies[(stream >> 1) % len(self._bodies)])

    def _ended(self, stream: int, now: float) -> None:
        if stream not in self._started:
            raise Http2Error(f"stream {stream} ends, but is not open")
        self._log.latencies.append(now - self._started.pop(stream))
        self._outbox.forget(stream)
        self._ask(now)

    def _lose(self, streams: Iterable[int]) -> None:
        for stream in streams:
            self._outbox.forget(stream)
            self._log.lost(perf_counter() - self._started.pop(stream), self._gone)

    def _finish(self) -> None:
        """At the end of every callback: write what has gathered; nothing in flight is the end of the window."""
        if self._reader.flow - self._given_back > _GIVE_BACK:
            self._outbox.add(http2.window_update(0, self._reader.flow - self._given_back))
            self._given_back = self._reader.flow
        if (data := self._outbox.take()) and not self._transport.is_closing():
            self._transport.write(data)
        if self._done and not self._started and not self._done.done():
            self._done.set_result(None)

    def _control(self, frame: Frame, now: float) -> None:
        kind, flags, stream, payload = frame
        if kind == http2.RST_STREAM and stream in self._started:
            self._frames.append(frame)
            self._ended(stream, now)
        elif kind == http2.SETTINGS and not flags & ACK:
            self._follow(http2.read_settings(payload))
        elif kind == http2.PING and not flags & ACK:
            self._outbox.add(http2.frame(http2.PING, ACK, 0, payload))
        elif kind == http2.WINDOW_UPDATE:
            self._outbox.grant(stream, http2.read_number(payload))
        elif kind == http2.GOAWAY:
            last, why = http2.read_goaway(payload)
            self._gone = f"the server said GOAWAY: {why}"
            self._lose([stream for stream in self._started if stream > last])

    def _follow(self, settings: dict[int, int]) -> None:
        self._outbox.add(http2.frame(http2.SETTINGS, ACK, 0, b""))
        self._outbox.change(settings)
        if not self.settings.done():
            self.settings.set_result(settings)


class GrpcLanes:
    """Calls of one method over `CONNECTIONS` connections."""

    def __init__(self, connections: Sequence[_Connection], in_flight: int) -> None:
        each, more = divmod(in_flight, len(connections))
        self._shares = [(connection, each + (place < more)) for place, connection in enumerate(connections)]

    @classmethod
    async def open(cls, wire: Wire, samples: Sequence[Sample], port: int, in_flight: int) -> Self:
        """Connect to ``127.0.0.1:port``.

        Raises:
            OSError: nothing listens there, or no server of HTTP/2, or one that allows fewer requests in flight.
            TimeoutError: it says nothing.
        """
        headers, judge = _headers(wire, port), _judge(wire, samples)
        bodies = [_body(wire.message(sample)) for sample in samples]
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(min(CONNECTIONS, in_flight)):
            _, connection = await loop.create_connection(lambda: _Connection(headers, bodies, judge), "127.0.0.1", port)
            connections.append(connection)
        lanes = cls(connections, in_flight)
        await lanes._greeted()
        return lanes

    async def run(self, log: Log) -> None:
        """Until the window ends."""
        await asyncio.gather(*(connection.start(log, share) for connection, share in self._shares))

    def check(self) -> None:
        """Headers, gRPC status and message of every answer."""
        for connection, _ in self._shares:
            connection.check()

    async def close(self) -> None:
        """Hang up."""
        for connection, _ in self._shares:
            connection.hang_up()

    async def _greeted(self) -> None:
        for connection, share in self._shares:
            async with asyncio.timeout(PATIENCE):
                settings = await connection.settings
            if settings.get(http2.MAX_STREAMS, share) < share:
                await self.close()
                raise ConnectionError(f"the server allows {settings[http2.MAX_STREAMS]} requests at a time")


def _headers(wire: Wire, port: int) -> Headers:
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", wire.rpc),
        (":authority", f"127.0.0.1:{port}"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "chorale-bench"),
        ("grpc-timeout", f"{PATIENCE:.0f}S"),
    )


def _body(message: bytes) -> bytes:
    """A message, not compressed, with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _judge(wire: Wire, samples: Sequence[Sample]) -> Judge:
    read = wire.response_class.FromString

    def judge(index: int, message: bytes) -> str | None:
        try:
            return wrong_message(wire, samples[index], read(message))
        except DecodeError as error:
            return f"not a message of its kind: {message[:200]!r} ({error})"

    return judge
