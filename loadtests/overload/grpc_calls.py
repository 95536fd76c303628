"""Calls over one HTTP/2 connection, as a gRPC channel makes them, in frames."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from time import perf_counter
from typing import cast

from google.protobuf.message import DecodeError

from loadtests.bench import http2
from loadtests.bench.grpc_answers import AnswerReader
from loadtests.bench.http2 import ACK, END_STREAM, HEADERS, LARGEST_WINDOW, RST_STREAM, Frame, FrameReader
from loadtests.bench.http2_outbox import Outbox
from loadtests.bench.samples import Sample, Wire, wrong_message
from loadtests.overload.calls import DEADLINE, Ended, Outcome, judged

_GREETING = (
    http2.PREFACE
    + http2.settings({http2.ENABLE_PUSH: 0, http2.INITIAL_WINDOW: LARGEST_WINDOW})
    + http2.window_update(0, LARGEST_WINDOW - http2.FIRST_WINDOW)
)


class GrpcCalls(asyncio.Protocol):
    """See `loadtests.overload.calls.Calls`. The n-th call, from 0, is stream 2n + 1 and sends the n-th sample."""

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
        self.in_flight = 0
        self.ended: Callable[[float], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_GREETING)

    def ask(self, due: float) -> None:
        """On a new stream, with the next `flush`."""
        self.in_flight += 1
        self._due[self._stream] = due
        self._outbox.request(self._stream, self._bodies[(self._stream >> 1) % len(self._bodies)])
        self._stream += 2

    def flush(self) -> None:
        """All that is held, in one write."""
        if (data := self._outbox.take()) and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
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

    def connection_lost(self, exc: Exception | None) -> None:
        self.in_flight = 0  # what has not ended is missed by whoever counts

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
            self.in_flight -= 1
            self.ended(now)

    def _judge(self, index: int, message: bytes, fault: str | None) -> tuple[Outcome, str]:
        if fault:
            return _refusal(fault)
        try:
            wrong = wrong_message(self._wire, self._samples[index], self._wire.response_class.FromString(message))
        except DecodeError as error:
            wrong = f"not a message of its kind: {message[:200]!r} ({error})"
        return (Outcome.WRONG, wrong) if wrong else (Outcome.OK, "")


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
