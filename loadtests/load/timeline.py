"""What each second of a load test was like, over all calls. Locust's own history has a row in five, of the last ten."""

import time
from statistics import quantiles
from typing import Any

from loadtests.load.result import Second


class Timeline:
    """Gathers calls by the second in which they ended; each second is summed up once it is over.

    Args:
        now: seconds; for tests.
    """

    def __init__(self, now: Any = time.perf_counter) -> None:
        self._now = now
        self._start = now()
        self._done: list[Second] = []
        self._times: list[float] = []
        self._errors = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return float(self._now() - self._start)

    def add(self, response_time: float, exception: Exception | None, **_: Any) -> None:
        """A call has ended: a listener of locust's ``request`` event. ``response_time`` is in milliseconds."""
        self._close(int(self.elapsed))
        self._times.append(response_time)
        self._errors += exception is not None

    def seconds(self) -> tuple[Second, ...]:
        """All whole seconds so far."""
        self._close(int(self.elapsed))
        return tuple(self._done)

    def _close(self, until: int) -> None:
        while len(self._done) < until:
            p50, p95 = _percentiles(self._times)
            self._done.append(Second(len(self._done) + 1.0, len(self._times), self._errors, p50, p95))
            self._times, self._errors = [], 0


def _percentiles(times: list[float]) -> tuple[float, float]:
    if len(times) < 2:
        return (times[0], times[0]) if times else (0.0, 0.0)
    cuts = quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]
