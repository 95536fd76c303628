"""The plan: one server with two of everything, continuous traffic, one event after the other, and the table."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from rich.console import Console
from rich.progress import track

from loadtests.bench import machine
from loadtests.bench.contenders import Ports
from loadtests.bench.server import Server
from loadtests.failure.events import EVENTS, Event
from loadtests.failure.traffic import CALLERS, Seen, Traffic, silence
from services.core.task import discover

TASK = "classification"
BEFORE = 2.0
"""Seconds of traffic before an event; they count, too."""
SETTLE = 6.0
"""Seconds after one event's watch until the next."""


@dataclass(frozen=True)
class Outcome:
    """What one event did on one way in.

    Args:
        silence: longest time without a good answer, seconds.
        recovery: from the event to the last failed call, seconds; 0 if none failed.
    """

    event: str
    way: str
    requests: int
    wrong: int
    failed: dict[str, int]
    silence: float
    recovery: float


async def survive(ports: Ports, server: Server, events: Sequence[Event]) -> list[Outcome]:
    """Let each event happen under traffic."""
    (task,) = discover(only=(TASK,))
    outcomes = []
    for event in track(events, "events", console=Console(stderr=True)):
        async with Traffic(task, ports.rest, ports.grpc, ports.lane(TASK)) as traffic:
            started = time.monotonic()
            await asyncio.sleep(BEFORE)
            at = time.monotonic()
            await asyncio.to_thread(event.happen, server)
            await asyncio.sleep(event.watch)
        ended = at + event.watch
        outcomes += [_outcome(event, way, seen, (started, at, ended)) for way, seen in traffic.seen.items()]
        await asyncio.sleep(SETTLE)
    return outcomes


def _outcome(event: Event, way: str, seen: Seen, moments: tuple[float, float, float]) -> Outcome:
    started, at, ended = moments
    failures = [moment for moment, _ in seen.failed]
    return Outcome(
        event=event.name,
        way=way,
        requests=len(seen.good) + len(seen.wrong) + len(seen.failed),
        wrong=len(seen.wrong),
        failed=dict(Counter(code for _, code in seen.failed)),
        silence=round(silence(seen.good, started, ended), 2),
        recovery=round(max((moment - at for moment in failures), default=0.0), 2),
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table, and how it came about."""
    lines = [
        "# Failure",
        "",
        "Command: `make failure`. `chorale serve` with `CHORALE_REPLICAS=2` (two replicas of the task, two gateways);",
        f"{CALLERS} callers on each way in, each with one call in flight, every answer compared with the right one.",
        "gRPC callers use the retry policy of `services/edges/retry.py`; REST callers send nothing twice. *Silence* is",
        "the longest time without a good answer; *recovery* is from the event to the last failed call.",
        "",
        *(f"- {name}: {value}" for name, value in machine.describe().items() if name in ("machine", "date")),
        "",
        "| event | way in | requests | wrong | lost | silence s | recovery s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        lost = ", ".join(f"{count} {code}" for code, count in outcome.failed.items()) or "0"
        cells = (outcome.event, outcome.way, outcome.requests, outcome.wrong, lost, outcome.silence, outcome.recovery)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def main(out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = Path("loadtests/results")) -> None:
    """Kill processes of a server under load; write what was lost to failure.md and failure.json."""
    ports = Ports.free((TASK,))
    command = [sys.executable, "-m", "services.runtime.cli", "serve", "--tasks", TASK]
    command += ["--rest-port", str(ports.rest), "--grpc-port", str(ports.grpc)]
    with Server("chorale serve", command, {"CHORALE_REPLICAS": "2"}) as server:
        time.sleep(SETTLE)  # the second replica of each may come a moment after the first
        outcomes = asyncio.run(survive(ports, server, EVENTS))
    out.mkdir(parents=True, exist_ok=True)
    (out / "failure.json").write_bytes(TypeAdapter(list[Outcome]).dump_json(outcomes, indent=1))
    (out / "failure.md").write_text(markdown(outcomes), encoding="utf-8")
    Console(highlight=False, soft_wrap=True).print(markdown(outcomes), markup=False)
