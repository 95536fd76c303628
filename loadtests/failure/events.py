"""What is done to a server under load: kill -9 of one of its processes, or a rolling update."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from loadtests.bench import processes
from loadtests.bench.server import BenchError, Server


@dataclass(frozen=True)
class Event:
    """One thing that happens.

    Args:
        name: in the table.
        happen: does it.
        watch: seconds of traffic after it that count.
    """

    name: str
    happen: Callable[[Server], None]
    watch: float


def kill(what: str) -> Callable[[Server], None]:
    """Kill -9 of the first process whose label begins so."""

    def happen(server: Server) -> None:
        victims = [process for process in server.members() if processes.label(process).startswith(what)]
        if not victims:
            raise BenchError(f"{server.name} has no process {what}")
        min(victims, key=psutil.Process.create_time).kill()

    return happen


def update(server: Server) -> None:
    """Every replica is replaced, as after a change of the catalog."""
    server.signal(signal.SIGHUP)


EVENTS = (
    Event("kill -9 a task replica", kill("ServeReplica:classification"), 8.0),
    Event("kill -9 a gateway", kill("ServeReplica:gateway"), 8.0),
    Event("kill -9 haproxy", kill("haproxy"), 8.0),
    Event("kill -9 HAProxyManager", kill("HAProxyManager"), 10.0),
    Event("kill -9 ServeController", kill("ServeController"), 8.0),
    Event("rolling update (SIGHUP)", update, 25.0),
)
"""In this order; the server is whole again before each."""
