"""Calls over a few HTTP/2 connections, as several clients' gRPC channels make them, in frames."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, cycle
from time import perf_counter
from typing import Self, cast

from google.protobuf.message import DecodeError

from loadtests.bench import http2
from loadtests.bench.grpc_answers import AnswerReader
from loadtests.bench.http2 import ACK, END_STREAM, HEADERS, LARGEST_WINDOW, RST_STREAM, Frame, FrameReader
from loadtests.bench.http2_outbox import Outbox
from loadtests.bench.samples import Sample, Wire, wrong_message
from loadtests.overload.calls import DEADLINE, Ended, Outcome, judged

CONNECTIONS = 16
"""A server bounds the calls under way on one connection; the client is many, and must not wait for itself."""

_GREETING = (
    http2.PREFACE
    + http2.settings({http2.ENABLE_PUSH: 0, http2.INITIAL_WINDOW: LARGEST_WINDOW})
    + http2.window_update(0, LARGEST_WINDOW - http2.FIRST_WINDOW)
)


class _Connection(asyncio.Protocol):
    """The n-th call, from 0, is stream 2n + 1 and sends the n-th sample."""

    def __init__(self, wire: Wire, samples: Sequence[Sample], port: int) -> None:
        self._wire = wire
        self._samples = samples
        self._bodies = [_framed(wire.message(sample)) for sample in samples]
        self._reader = FrameReader()
        self._answers = AnswerReader()
        self._outbox = Outbox(_headers(wire, port))
        self._frames: list[Frame] = []
        self._due: dict[int, float] = {}
        self._times: dict[int, tuple[float, float]] = {}
        self._stream = 1
        self.ended: Callable[[float], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_GREETING)

    def ask(self, due: float) -> None:
        """On a new stream, with the next `flush`."""
        self._due[self._stream] = due
        self._outbox.request(self._stream, self._bodies[(self._stream >> 1) % len(self._bodies)])
        self._stream += 2

    def flush(self) -> None:
        """All that is held, in one write."""
        if (data := self._outbox.take()) and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Keep what belongs to calls, and answer what the connection needs."""
        now = perf_counter()
        for frame in self._reader.feed(data):
            kind, flags, stream, payload = frame
            if kind <= HEADERS or kind == RST_STREAM:
                self._frames.append(frame)
                if kind == RST_STREAM or flags & END_STREAM:
                    self._end(stream, now)
            elif kind == http2.SETTINGS and not flags & ACK:
                self._outbox.add(http2.frame(http2.SETTINGS, ACK, 0, b""))
                self._outbox.change(http2.read_settings(payload))
            elif kind == http2.PING and not flags & ACK:
                self._outbox.add(http2.frame(http2.PING, ACK, 0, payload))
            elif kind == http2.WINDOW_UPDATE:
                self._outbox.grant(stream, http2.read_number(payload))
        self.flush()

    def check(self) -> Iterator[Ended]:
        """Headers, gRPC status and message of every answer."""
        judge = cache(self._judge)  # most are the same bytes again
        for answer in self._answers.read(self._frames):
            if times := self._times.pop(answer.stream, None):
                index = (answer.stream >> 1) % len(self._samples)
                yield judged(*times, *judge(index, answer.message, answer.fault))
        self._frames.clear()

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def _end(self, stream: int, now: float) -> None:
        if (due := self._due.pop(stream, None)) is not None:
            self._times[stream] = (due, now)
            self._outbox.forget(stream)
            self.ended(now)

    def _judge(self, index: int, message: bytes, fault: str | None) -> tuple[Outcome, str]:
        if fault:
            return _refusal(fault)
        try:
            wrong = wrong_message(self._wire, self._samples[index], self._wire.response_class.FromString(message))
        except DecodeError as error:
            wrong = f"not a message of its kind: {message[:200]!r} ({error})"
        return (Outcome.WRONG, wrong) if wrong else (Outcome.OK, "")


class GrpcCalls:
    """See `loadtests.overload.calls.Calls`."""

    def __init__(self, connections: Sequence[_Connection]) -> None:
        self._connections = connections
        self._turn = cycle(connections)

    @classmethod
    async def connect(cls, wire: Wire, samples: Sequence[Sample], port: int) -> Self:
        """To ``127.0.0.1``."""
        loop = asyncio.get_running_loop()
        make = partial(_Connection, wire, samples, port)
        return cls([(await loop.create_connection(make, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)])

    def begin(self, ended: Callable[[float], None]) -> None:
        """Tell of each call that ends."""
        for connection in self._connections:
            connection.ended = ended

    def ask(self, due: float) -> None:
        """Over the connections in turn."""
        next(self._turn).ask(due)

    def flush(self) -> None:
        """Of all connections."""
        for connection in self._connections:
            connection.flush()

    def check(self) -> Iterator[Ended]:
        """Of all connections."""
        return chain.from_iterable([connection.check() for connection in self._connections])

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.close()


def _refusal(fault: str) -> tuple[Outcome, str]:
    if fault.startswith("gRPC RESOURCE_EXHAUSTED") and "retry after" in fault:
        return Outcome.REFUSED, ""
    if fault.startswith("gRPC DEADLINE_EXCEEDED") or "CANCEL" in fault:
        return Outcome.EXPIRED, ""
    return Outcome.WRONG, fault


def _headers(wire: Wire, port: int) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", wire.rpc),
        (":authority", f"127.0.0.1:{port}"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "chorale-overload"),
        ("grpc-timeout", f"{DEADLINE}S"),
    ]


def _framed(message: bytes) -> bytes:
    """A message, not compressed, with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message
