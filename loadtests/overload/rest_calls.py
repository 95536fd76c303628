"""Calls over HTTP/1.1: keep-alive connections, one for each call in flight, opened as they are needed."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import cycle
from time import perf_counter
from typing import NamedTuple, cast

from loadtests.bench.samples import Sample, Wire, wrong_body
from loadtests.overload.calls import DEADLINE, Ended, Outcome, judged

_BLANK_LINE = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})", re.IGNORECASE)


class _Asked(NamedTuple):
    due: float
    sample: int
    request: bytes


class _Connection(asyncio.Protocol):
    """One call at a time."""

    def __init__(self, pool: "RestCalls") -> None:
        self._pool = pool
        self._part = b""
        self._asked: _Asked | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, asked: _Asked) -> None:
        """Send it."""
        self._asked = asked
        self.transport.write(asked.request)

    def data_received(self, data: bytes) -> None:
        self._part += data
        head = self._part.find(_BLANK_LINE)
        length = _LENGTH.search(self._part, 0, head) if head > 0 else None
        if length and self._asked and len(self._part) >= head + 4 + int(length[1]):
            asked, answer = self._asked, self._part
            self._asked, self._part = None, b""
            self._pool.answered(asked, answer)
            self._pool.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        if self._asked:
            self._pool.answered(self._asked, f"connection lost: {exc}".encode())


class RestCalls:
    """See `loadtests.overload.calls.Calls`."""

    def __init__(self, wire: Wire, samples: Sequence[Sample], port: int) -> None:
        self._wire = wire
        self._samples = samples
        self._port = port
        self._requests = cycle(enumerate([_request(wire.route, wire.body(sample)) for sample in samples]))
        self._idle: dict[_Connection, None] = {}  # the last one used is the next to be used
        self._open: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._answers: list[tuple[_Asked, float, bytes]] = []
        self._ended: Callable[[float], None] = lambda _: None

    def begin(self, ended: Callable[[float], None]) -> None:
        """Tell of each call that ends."""
        self._ended = ended

    def ask(self, due: float) -> None:
        """Over an idle connection, or a new one."""
        asked = _Asked(due, *next(self._requests))
        if self._idle:
            self._idle.popitem()[0].ask(asked)
        else:
            task = asyncio.get_running_loop().create_task(self._connect(asked))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def flush(self) -> None:
        """Nothing is held."""

    def check(self) -> Iterator[Ended]:
        """Status and body of every answer."""
        judge = cache(self._judge)  # most are the same bytes again
        for asked, ended, answer in self._answers:
            head, _, body = answer.partition(_BLANK_LINE)
            outcome, fault = judge(asked.sample, head[9:12], b"\r\nretry-after:" in head.lower(), body)
            yield judged(asked.due, ended, outcome, fault)
        self._answers.clear()

    def close(self) -> None:
        """Hang up."""
        for connection in [*self._open]:
            connection.transport.abort()

    def answered(self, asked: _Asked, answer: bytes) -> None:
        """A connection's call has ended."""
        now = perf_counter()
        self._answers.append((asked, now, answer))

    def free(self, connection: _Connection) -> None:
        """A connection can take another call."""
        self._idle[connection] = None
        self._ended(perf_counter())

    def lost(self, connection: _Connection) -> None:
        """A connection has gone."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    async def _connect(self, asked: _Asked) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        except OSError as error:
            self.answered(asked, f"no connection: {error}".encode())
            return
        self._open.add(connection)
        connection.ask(asked)

    def _judge(self, index: int, status: bytes, retry: bool, body: bytes) -> tuple[Outcome, str]:
        if status == b"200":
            fault = wrong_body(self._wire, self._samples[index], body)
            return (Outcome.WRONG, fault) if fault else (Outcome.OK, "")
        if status == b"429" and b'"OVERLOADED"' in body and retry:
            return Outcome.REFUSED, ""
        if status == b"408":
            return Outcome.EXPIRED, ""
        return Outcome.WRONG, f"HTTP {status!r}: {body[:200]!r}"


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}X-Request-Timeout: {DEADLINE}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
