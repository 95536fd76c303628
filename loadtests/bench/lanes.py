"""Requests kept in flight: a lane sends a request, waits for the whole answer, keeps it, and sends the next.

Answers are checked when the window has closed, so that checking takes no CPU from the server under test. HTTP lanes,
here, have a connection each (HTTP/1.1, keep-alive). A request's latency ends when its last byte is here.
"""

import asyncio
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import cycle
from time import perf_counter
from typing import Protocol, Self, cast

from loadtests.bench.samples import Sample, Wire, wrong_body

PATIENCE = 30.0
"""Seconds after which an answer is not waited for any longer."""

KEEP = 256 << 20
"""Bytes of answers kept before they are checked after all, within the window."""

LARGEST = 64 << 20
"""Bytes of the largest answer that is read."""

_BLANK_LINE = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d{1,12})")


class Log:
    """Latencies and wrong answers of one window, which ends at ``until``."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.latencies = array("d")
        self.wrong = 0
        self.first_wrong: str | None = None

    def fault(self, what: str) -> None:
        """An answer, already counted, was not the right one."""
        self.wrong += 1
        self.first_wrong = self.first_wrong or what

    def lost(self, seconds: float, what: str) -> None:
        """No answer came."""
        self.latencies.append(seconds)
        self.fault(what)


class Lanes(Protocol):
    """A number of lanes to one address."""

    async def run(self, log: Log) -> None:
        """Keep all lanes busy until the window ends, then wait for what is in flight."""

    def check(self) -> None:
        """Tell the log of the last window what was wrong with its answers."""

    async def close(self) -> None:
        """Hang up."""


class _HttpLane(asyncio.Protocol):
    """One connection. Runs in callbacks: no task, no stream, no future per request."""

    def __init__(self, requests: Iterator[tuple[int, bytes]], keep: Callable[[int, bytes], None]) -> None:
        self._requests = requests
        self._keep = keep
        self._part = b""
        self._gone = ""
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def start(self, log: Log) -> asyncio.Future[None]:
        """Begin; the future is done when the window has ended and nothing is in flight."""
        self._log = log
        self._done = asyncio.get_running_loop().create_future()
        self._next(self._done, perf_counter())
        return self._done

    def hang_up(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _next(self, done: asyncio.Future[None], now: float) -> None:
        if self._gone:
            self._log.lost(0.0, self._gone)
        elif now < self._log.until:
            self._started = now
            self._index, request = next(self._requests)
            self._transport.write(request)
            return
        done.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._done or self._done.done():
            return self._give_up("the server sent what nobody had asked for")
        if self._part:
            data = self._part + data
        size = _answer_size(data)
        if max(size, len(data)) > LARGEST:
            return self._give_up(f"an answer past {LARGEST} bytes")
        if not size or len(data) < size:
            self._part = data
            return None
        self._part = b""
        now = perf_counter()
        self._log.latencies.append(now - self._started)
        self._keep(self._index, data)
        return self._next(self._done, now)

    def _give_up(self, why: str) -> None:
        self._gone = why
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = self._gone or f"the server closed the connection ({exc})"
        if self._done and not self._done.done():
            self._log.lost(perf_counter() - self._started, self._gone)
            self._done.set_result(None)


def _answer_size(data: bytes) -> int:
    """Bytes of head and body; 0 while the head is not whole. Without a length there is no body, and a fault later."""
    head = data.find(_BLANK_LINE)
    if head < 0:
        return 0
    length = _LENGTH.search(data, 0, head)
    return head + 4 + (int(length[1]) if length else 0)


class HttpLanes:
    """Keep-alive connections to one route."""

    def __init__(self, wire: Wire, samples: Sequence[Sample], path: str) -> None:
        self._wire = wire
        self._samples = samples
        self._requests = cycle(enumerate([_http_request(path, wire.body(sample)) for sample in samples]))
        self._lanes: list[_HttpLane] = []
        self._answers: list[tuple[int, bytes]] = []
        self._kept = 0

    @classmethod
    async def open(cls, wire: Wire, samples: Sequence[Sample], port: int, path: str, in_flight: int) -> Self:
        """Connect ``in_flight`` times to ``127.0.0.1:port``.

        Raises:
            OSError: nothing listens there.
        """
        lanes, loop = cls(wire, samples, path), asyncio.get_running_loop()
        for _ in range(in_flight):
            _, lane = await loop.create_connection(lanes._lane, "127.0.0.1", port)
            lanes._lanes.append(lane)
            # All at once, they may fall to one of a server's several workers, whichever wakes first.
            await asyncio.sleep(0.001)
        return lanes

    async def run(self, log: Log) -> None:
        """Until the window ends."""
        self._log = log
        await asyncio.gather(*(lane.start(log) for lane in self._lanes))

    def check(self) -> None:
        """Status and body of every answer."""
        wrong = cache(self._wrong)  # most are the same bytes again
        for index, answer in self._answers:
            head, _, body = answer.partition(_BLANK_LINE)
            fault = wrong(index, head[9:12], body)
            if not fault and _answer_size(answer) != len(answer):
                fault = f"not of the length it says: {answer[:200]!r}"
            if fault:
                self._log.fault(fault)
        self._answers.clear()
        self._kept = 0

    async def close(self) -> None:
        """Hang up."""
        for lane in self._lanes:
            lane.hang_up()

    def _lane(self) -> _HttpLane:
        return _HttpLane(self._requests, self._keep)

    def _keep(self, index: int, answer: bytes) -> None:
        self._answers.append((index, answer))
        self._kept += len(answer)
        if self._kept > KEEP:
            self.check()

    def _wrong(self, index: int, status: bytes, body: bytes) -> str | None:
        if status != b"200":
            return f"HTTP {status!r}: {body[:200]!r}"
        return wrong_body(self._wire, self._samples[index], body)


def _http_request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
