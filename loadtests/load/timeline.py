"""What became of every call of a load test: by kind of call, and by second. Locust itself keeps rounded times."""

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loadtests.load.result import LoadResult, Second, Seen


class Calls:
    """Times of the calls that were answered well, and how many were not."""

    def __init__(self) -> None:
        self.times = array("d")
        self.errors = 0

    def add(self, milliseconds: float, *, failed: bool) -> None:
        """One call."""
        if failed:
            self.errors += 1
        else:
            self.times.append(milliseconds)

    def seen(self, name: str, protocol: str, seconds: float) -> Seen:
        """All of them, over so many seconds."""
        good = len(self.times)
        return Seen(
            name, protocol, good + self.errors, self.errors, good / seconds, *percentiles(self.times, 50, 95, 99)
        )


class Timeline:
    """Listens to calls as they end.

    Args:
        apart: whether calls of a name, made in a way, do not count to all calls.
        now: seconds; for tests.
    """

    def __init__(
        self, apart: Callable[[str, str], bool] = lambda *_: False, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._apart = apart
        self._now = now
        self._start = now()
        self._kinds: dict[tuple[str, str], Calls] = defaultdict(Calls)
        self._all, self._second = Calls(), Calls()
        self._done: list[Second] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._now() - self._start

    def add(self, request_type: str, name: str, response_time: float, exception: Exception | None, **_: Any) -> None:
        """A call has ended: a listener of locust's ``request`` event. ``response_time`` is in milliseconds."""
        self._close(int(self.elapsed))
        together = () if self._apart(name, request_type) else (self._all, self._second)
        for calls in (self._kinds[name, request_type], *together):
            calls.add(response_time, failed=exception is not None)

    def result(self, seconds: float) -> LoadResult:
        """What there was; rates are over so many seconds."""
        self._close(int(seconds))
        parts = [calls.seen(name, protocol, seconds) for (name, protocol), calls in sorted(self._kinds.items())]
        return LoadResult(self._all.seen("all", "both", seconds), tuple(parts), tuple(self._done[: int(seconds)]))

    def _close(self, until: int) -> None:
        while len(self._done) < until:
            calls, at = self._second, len(self._done) + 1.0
            p50, p95 = percentiles(calls.times, 50, 95)
            self._done.append(Second(at, len(calls.times), calls.errors, p50, p95))
            self._second = Calls()


def percentiles(times: Sequence[float], *shares: int) -> tuple[float, ...]:
    """Zero for no times."""
    return tuple(map(float, np.percentile(times, shares))) if len(times) else (0.0,) * len(shares)
