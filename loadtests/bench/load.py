"""The load generator: a process that takes jobs on standard input and answers on standard output, one JSON a line.

    job      -> it connects and warms the server up, then says "warm"
    "go"     -> it measures one window, then says "closed"
    "check"  -> it checks the window's answers, then tells what it saw

Closed loop: each of N lanes has one request in flight. Every answer is checked. Knows nothing of the server's
processes; reading their CPU before "go" and before "check" is the caller's business.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from loadtests.bench.grpc_lanes import CONNECTIONS, GrpcLanes
from loadtests.bench.lanes import PATIENCE, HttpLanes, Lanes, Log
from loadtests.bench.samples import Sample, Wire, read_samples, wire

NAME = (
    "loadtests/bench/load.py, one process, closed loop; REST: HTTP/1.1 on uvloop, a keep-alive connection for each"
    f" request in flight; gRPC: HTTP/2 on uvloop, connections: {CONNECTIONS}; answers are checked after each window;"
    " priority raised where the system allows it"
)


@dataclass(frozen=True)
class Job:
    """One window to measure.

    Args:
        protocol: ``REST`` or ``gRPC``.
        path: REST path; gRPC has the task's own.
        dialect: of REST bodies.
        samples: file of `Sample` records.
    """

    task: str
    protocol: str
    port: int
    path: str
    in_flight: int
    samples: str
    warm_seconds: float
    seconds: float
    dialect: str = "chorale"


@dataclass(frozen=True)
class Seen:
    """What the generator saw in one window; faults of the warm-up count too."""

    requests: int
    wrong: int
    first_wrong: str | None
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float


_read_samples = cache(read_samples)
_wire = cache(wire)


async def _open(job: Job, wire: Wire, samples: list[Sample]) -> Lanes:
    if job.protocol == "gRPC":
        return await GrpcLanes.open(wire, samples, job.port, job.in_flight)
    return await HttpLanes.open(wire, samples, job.port, job.path, job.in_flight)


async def measure(job: Job) -> Seen:
    """Warm up, wait for "go", measure, wait for "check", check."""
    lanes = await _open(job, _wire(job.task, job.dialect), _read_samples(Path(job.samples)))
    try:
        warm, _ = await _window(lanes, job.warm_seconds)
        lanes.check()
        await _ask({"warm": len(warm.latencies)})
        cpu = time.process_time()
        log, seconds = await _window(lanes, job.seconds)
        cpu = time.process_time() - cpu
        await _ask({"closed": len(log.latencies)})
        lanes.check()
        return _summary(log, warm, seconds, cpu)
    finally:
        await lanes.close()


async def _window(lanes: Lanes, seconds: float) -> tuple[Log, float]:
    started = time.perf_counter()
    log = Log(started + seconds)
    async with asyncio.timeout(seconds + PATIENCE):
        await lanes.run(log)
    return log, time.perf_counter() - started


def _summary(log: Log, warm: Log, seconds: float, cpu_seconds: float) -> Seen:
    p50, p99 = np.percentile(log.latencies, [50, 99]) * 1e3 if log.latencies else (0.0, 0.0)
    wrong, first = log.wrong + warm.wrong, warm.first_wrong or log.first_wrong
    return Seen(len(log.latencies), wrong, first, seconds, float(p50), float(p99), cpu_seconds)


async def _ask(message: object) -> None:
    """Say something, and wait for the caller's word to go on."""
    _say(message)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Work until standard input ends."""
    import uvloop

    with suppress(PermissionError):
        os.nice(-10)  # else busy engine threads keep it waiting, and it measures the scheduler
    jobs = TypeAdapter(Job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while line := sys.stdin.readline():
            try:
                _say(asdict(runner.run(measure(jobs.validate_json(line)))))
            except (OSError, TimeoutError) as error:
                _say({"failed": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
