"""The client: a process that takes a job on standard input and answers on standard output, one JSON a line.

Closed loop (a number in flight) for the peak, open loop (a timetable of random arrivals) for everything else. What is
counted is what ends, and what is offered, within the window: calls begin before it and go on to its end.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from pydantic import TypeAdapter

from loadtests.bench.samples import Sample, Wire, read_samples, wire
from loadtests.overload.calls import DEADLINE, Calls, Ended, Outcome
from loadtests.overload.grpc_calls import GrpcCalls
from loadtests.overload.rest_calls import RestCalls

TICK = 0.002
"""Seconds between two looks at the timetable."""


@dataclass(frozen=True)
class Job:
    """One window.

    Args:
        protocol: ``REST`` or ``gRPC``.
        samples: file of `Sample` records.
        in_flight: closed loop with so many; 0: open loop.
        rate: of the open loop, calls per second.
    """

    protocol: str
    port: int
    samples: str
    in_flight: int
    rate: float
    ramp_seconds: float
    seconds: float


@dataclass(frozen=True)
class Seen:
    """What the client saw in one window; rates are per second, times of right answers."""

    offered: float
    goodput: float
    refused: float
    expired: float
    wrong: int
    first_wrong: str
    p50_ms: float
    p99_ms: float
    refused_p99_ms: float
    lag_p99_ms: float
    """How late the client itself sent what was due."""
    client_cores: float


class _Load:
    """Begins calls until it is told to stop."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.due: list[float] = []
        self.lag: list[float] = []
        self._until = 0.0

    async def closed(self, in_flight: int, until: float) -> None:
        """Each call that ends is followed by another."""
        self._until = until
        self.calls.begin(self._again)
        for _ in range(in_flight):
            self._again(perf_counter())
        self.calls.flush()
        await asyncio.sleep(until - perf_counter())

    async def open(self, rate: float, full: float, until: float) -> None:
        """Arrivals at random, whatever becomes of them: from none, evenly more until ``full``, then at this rate.

        At once, thousands of connections would be opened in the first second, which is another test.
        """
        chance = random.Random(1)  # noqa: S311
        begun = due = perf_counter()
        while due < until:
            now = perf_counter()
            while due < min(now, until):
                self.due.append(due)
                self.lag.append(now - due)
                self.calls.ask(due)
                due += chance.expovariate(rate * min(1.0, max(0.05, (due - begun) / (full - begun))))
            self.calls.flush()
            await asyncio.sleep(TICK)

    def _again(self, now: float) -> None:
        if now < self._until:
            self.due.append(now)
            self.calls.ask(now)
            self.calls.flush()


async def measure(job: Job) -> Seen:
    """Offer the load, then judge what came of it."""
    samples = read_samples(Path(job.samples))
    calls = await _connect(job, wire("classification"), samples)
    load = _Load(calls)
    start = perf_counter() + job.ramp_seconds
    until = start + job.seconds
    full = start - DEADLINE / 2  # the queue is as long as it gets when the window begins
    offer = load.closed(job.in_flight, until) if job.in_flight else load.open(job.rate, full, until)
    offering = asyncio.create_task(offer)
    await asyncio.sleep(job.ramp_seconds)
    cpu = time.process_time()
    await offering
    cpu = time.process_time() - cpu
    await asyncio.sleep(DEADLINE + 1)
    ended = [*calls.check()]
    calls.close()
    lost = len(load.due) - len(ended)  # those still in flight, too
    found = [call for call in ended if start <= call.ended < until]
    return _summary(load, found, lost, start, job.seconds, cpu)


async def _connect(job: Job, wire: Wire, samples: Sequence[Sample]) -> Calls:
    if job.protocol == "REST":
        return RestCalls(wire, samples, job.port)
    return await GrpcCalls.connect(wire, samples, job.port)


def _summary(load: _Load, found: list[Ended], lost: int, start: float, seconds: float, cpu: float) -> Seen:
    count = Counter(call.outcome for call in found)
    return Seen(
        offered=sum(due >= start for due in load.due) / seconds,
        goodput=count[Outcome.OK] / seconds,
        refused=count[Outcome.REFUSED] / seconds,
        expired=count[Outcome.EXPIRED] / seconds,
        wrong=count[Outcome.WRONG] + lost,
        first_wrong=next((call.fault for call in found if call.fault), f"{lost} calls never ended" if lost else ""),
        p50_ms=_percentile(found, Outcome.OK, 50),
        p99_ms=_percentile(found, Outcome.OK, 99),
        refused_p99_ms=_percentile(found, Outcome.REFUSED, 99),
        lag_p99_ms=float(np.percentile(load.lag or [0.0], 99)) * 1e3,
        client_cores=cpu / seconds,
    )


def _percentile(found: list[Ended], outcome: Outcome, share: int) -> float:
    times = [call.ended - call.due for call in found if call.outcome is outcome]
    return float(np.percentile(times, share)) * 1e3 if times else 0.0


def main() -> None:
    """Work until standard input ends."""
    import uvloop

    with suppress(PermissionError):
        os.nice(-10)  # else busy engine threads keep it waiting, and it is no timetable any more
    jobs = TypeAdapter(Job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while line := sys.stdin.readline():
            sys.stdout.write(json.dumps(asdict(runner.run(measure(jobs.validate_json(line))))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
