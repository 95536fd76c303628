"""Measures: one window, one server from start to stop, the engine's limit, a stack at rest.

Knows no plan of rounds and nothing of what is written.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from loadtests.bench import processes
from loadtests.bench.contenders import IN_FLIGHT, Contender, Endpoint, OnRay, Ports
from loadtests.bench.generator import Generator
from loadtests.bench.load import Job, Seen
from loadtests.bench.result import LIMIT, Stack, Window
from loadtests.bench.server import BenchError, Server, cpu_used


@dataclass(frozen=True)
class Plan:
    """How often and how long."""

    rounds: int
    warm_seconds: float
    seconds: float
    idle_seconds: float


class Bench:
    """A run under way: measures blocks and gathers what they gave.

    Args:
        plan: how long each window is.
        folder: has a file of samples per task, named like it.
        tasks: what every server serves.
        generator: makes the load.
        say: told each step as it starts.
    """

    def __init__(
        self, plan: Plan, folder: Path, tasks: Sequence[str], generator: Generator, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._tasks = tuple(tasks)
        self._generator = generator
        self._say = say
        self.windows: list[Window] = []
        self.stacks: list[Stack] = []

    def block(self, number: int, contender: Contender) -> None:
        """One server from start to stop, with a window for each address and number in flight."""
        ports = Ports.free(self._tasks)
        self._say(f"round {number}: starting {contender.name}")
        with Server(contender.name, contender.command(self._tasks, ports)) as server:
            endpoints = contender.endpoints(self._tasks, ports, server)
            turns = [(in_flight, endpoint) for endpoint in endpoints for in_flight in endpoint.in_flight]
            for in_flight, endpoint in sorted(turns, key=itemgetter(0)):
                self._say(f"round {number}: {endpoint.series}, {endpoint.task}, {in_flight} in flight")
                self.windows.append(self._window(number, server, endpoint, in_flight))
            self._say(f"round {number}: {contender.name} at rest")
            tasks = tuple(dict.fromkeys(endpoint.task for endpoint in endpoints))
            self.stacks.append(self._stack(number, contender.name, tasks, server))

    def limits(self, number: int) -> None:
        """The engine without a server, in a process of its own."""
        for task in self._tasks:
            self._say(f"round {number}: {LIMIT}, {task}")
            for in_flight, seen in self._limit(task).items():
                cpu_ms = seen.cpu_seconds / seen.requests * 1e3
                values = (seen.requests, 0, None, seen.seconds, seen.p50_ms, seen.p99_ms, cpu_ms)
                self.windows.append(Window(number, LIMIT, task, in_flight, *values))

    def alone(self) -> Stack:
        """``chorale serve`` with classification only, after it has answered for a moment."""
        contender, tasks, ports = OnRay(), ("classification",), Ports.free(["classification"])
        self._say("classification alone on Ray")
        with Server(contender.name, contender.command(tasks, ports)) as server:
            for endpoint in contender.endpoints(tasks, ports, server):
                self._window(0, server, endpoint, in_flight=16)
            return self._stack(0, server.name, tasks, server)

    def _window(self, number: int, server: Server, endpoint: Endpoint, in_flight: int) -> Window:
        samples, plan = str(self._folder / endpoint.task), self._plan
        address = (endpoint.task, endpoint.protocol, endpoint.port, endpoint.path)
        job = Job(*address, in_flight, samples, plan.warm_seconds, plan.seconds, dialect=endpoint.dialect)
        reading = Reading(server)
        try:
            seen = self._generator.measure(job, reading.start, reading.stop)
        except BenchError:
            server.require_alive(patience=1.0)
            raise
        cpu, busy = reading.used()
        return Window(
            number,
            endpoint.series,
            endpoint.task,
            in_flight,
            seen.requests,
            seen.wrong,
            seen.first_wrong,
            seen.seconds,
            seen.p50_ms,
            seen.p99_ms,
            cpu_ms=cpu / max(1, seen.requests) * 1e3,
            generator_cores=seen.cpu_seconds / seen.seconds,
            other_cores=max(0.0, busy - cpu - seen.cpu_seconds) / seen.seconds,
        )

    def _stack(self, number: int, name: str, tasks: tuple[str, ...], server: Server) -> Stack:
        reading = Reading(server)
        reading.start()
        time.sleep(self._plan.idle_seconds)
        reading.stop()
        cpu, _ = reading.used()
        family = server.members()
        titles = tuple(sorted(map(processes.label, family)))
        torch = tuple(processes.label(process) for process in family if processes.maps_library(process, "libtorch"))
        idle, memory = cpu / self._plan.idle_seconds, processes.pss_mib(family)
        return Stack(number, name, tasks, server.ready_seconds, idle, memory, titles, torch)

    def _limit(self, task: str) -> dict[int, Seen]:
        numbers = ",".join(map(str, IN_FLIGHT))
        arguments = [task, str(self._folder / task), numbers, str(self._plan.warm_seconds), str(self._plan.seconds)]
        command = [sys.executable, "-m", "loadtests.bench.direct", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the {LIMIT} of {task} could not be measured:\n{done.stderr[-2000:]}")
        return {int(number): Seen(**seen) for number, seen in json.loads(done.stdout).items()}


class Reading:
    """CPU between two moments: the server's, and the whole machine's."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def start(self) -> None:
        """Read before."""
        self._before = self._server.cpu_seconds()
        self._busy = processes.machine_busy_seconds()

    def stop(self) -> None:
        """Read after."""
        self._busy = processes.machine_busy_seconds() - self._busy
        self._after = self._server.cpu_seconds()

    def used(self) -> tuple[float, float]:
        """CPU seconds of the server and of everything in between."""
        return cpu_used(self._before, self._after), self._busy
