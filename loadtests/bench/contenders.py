"""What is measured: how each server is started, and the addresses at which it answers."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, Self

import psutil

from loadtests.bench import processes
from loadtests.bench.samples import wire
from loadtests.bench.server import BenchError, Server, free_ports, is_free
from services.core.settings import GRPC_PORT

REPLICA_PORTS = range(30000, 31001)
"""Where Ray Serve's replicas listen themselves."""

IN_FLIGHT = (1, 16, 64)

TASK_LANE = "Ray, task lane REST"
GRPC_LANE = "Ray, task lane gRPC"
HAPROXY = "Ray, task lane through HAProxy REST"
GATEWAY = "Ray, gateway REST"


@dataclass(frozen=True)
class Ports:
    """Where a server is told to listen."""

    rest: int
    grpc: int

    def lane(self, task: str) -> int:
        """Where the gRPC lane of a task listens, as ``chorale serve`` counts it from ``grpc``."""
        return self.grpc + wire(task).task.grpc_port - GRPC_PORT

    @classmethod
    def free(cls, tasks: Sequence[str]) -> Self:
        """Loopback ports nobody listens on; those of the tasks' gRPC lanes are free, too."""
        (rest,) = free_ports(1)
        candidates = (cls(rest, port) for port in count(rest + 1) if is_free(port))
        return next(ports for ports in candidates if all(is_free(ports.lane(task)) for task in tasks))


@dataclass(frozen=True)
class Endpoint:
    """One address of one task: a row of the tables.

    Args:
        dialect: how its requests and answers are written (`samples.DIALECTS`).
        in_flight: numbers of requests in flight to measure.
    """

    series: str
    task: str
    protocol: str
    port: int
    path: str
    dialect: str = "chorale"
    in_flight: tuple[int, ...] = IN_FLIGHT


class Contender(Protocol):
    """A kind of server."""

    @property
    def name(self) -> str:
        """What ``--contenders`` calls it."""

    def command(self, tasks: Sequence[str], ports: Ports) -> list[str]:
        """What to start."""

    def endpoints(self, tasks: Sequence[str], ports: Ports, server: Server) -> list[Endpoint]:
        """Where it answers, now that it runs."""


class Bare:
    """One process with the same batcher and engine, hand-written."""

    name = "bare"

    def command(self, tasks: Sequence[str], ports: Ports) -> list[str]:
        """See `loadtests.bench.bare`."""
        return [sys.executable, "-m", "loadtests.bench.bare", str(ports.rest), *tasks]

    def endpoints(self, tasks: Sequence[str], ports: Ports, server: Server) -> list[Endpoint]:
        """REST only."""
        return [Endpoint("bare REST", task, "REST", ports.rest, wire(task).route) for task in tasks]


class InProcess:
    """``chorale serve --in-process``."""

    name = "in-process"

    def command(self, tasks: Sequence[str], ports: Ports) -> list[str]:
        """The command as users type it."""
        return [*_serve(tasks, ports), "--in-process"]

    def endpoints(self, tasks: Sequence[str], ports: Ports, server: Server) -> list[Endpoint]:
        """REST and gRPC."""
        rest = [Endpoint("in-process REST", task, "REST", ports.rest, wire(task).route) for task in tasks]
        grpc = [Endpoint("in-process gRPC", task, "gRPC", ports.grpc, "") for task in tasks]
        return rest + grpc


class OnRay:
    """``chorale serve``."""

    name = "Ray"

    def command(self, tasks: Sequence[str], ports: Ports) -> list[str]:
        """The command as users type it."""
        return _serve(tasks, ports)

    def endpoints(self, tasks: Sequence[str], ports: Ports, server: Server) -> list[Endpoint]:
        """The replica itself on both protocols, through HAProxy, and the gateway on both protocols."""
        found = []
        for task in tasks:
            route = wire(task).route
            lane = f"/{task}{route}"
            found += [
                Endpoint(TASK_LANE, task, "REST", replica_port(server, task), lane),
                Endpoint(GRPC_LANE, task, "gRPC", ports.lane(task), ""),
                Endpoint(HAPROXY, task, "REST", ports.rest, lane),
                Endpoint(GATEWAY, task, "REST", ports.rest, route),
                Endpoint("Ray, gateway gRPC", task, "gRPC", ports.grpc, ""),
            ]
        return found


CONTENDERS: tuple[Contender, ...] = (Bare(), InProcess(), OnRay())


def _serve(tasks: Sequence[str], ports: Ports) -> list[str]:
    chosen = ["--tasks", ",".join(tasks), "--rest-port", str(ports.rest), "--grpc-port", str(ports.grpc)]
    return [sys.executable, "-m", "services.runtime.cli", "serve", *chosen]


def replica(server: Server, task: str) -> psutil.Process:
    """The process of a task's replica.

    Raises:
        BenchError: there is none.
    """
    for process in server.members():
        if processes.label(process).startswith(f"ServeReplica:{task}"):
            return process
    raise BenchError(f"{server.name} has no replica process for {task}")


def replica_port(server: Server, task: str) -> int:
    """The port on which a task's replica listens itself.

    Raises:
        BenchError: it does not.
    """
    ports = processes.listening(replica(server, task), REPLICA_PORTS)
    if not ports:
        raise BenchError(f"the replica of {task} listens on no port of {REPLICA_PORTS[0]}-{REPLICA_PORTS[-1]}")
    return ports[0]
