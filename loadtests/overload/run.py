"""The plan: one server; on each protocol the peak with a number in flight, then one, two and three times that rate."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
from rich.console import Console

from loadtests.bench import direct, machine, processes
from loadtests.bench.contenders import InProcess, Ports
from loadtests.bench.run import SENTENCES
from loadtests.bench.samples import read_sentences, write_samples
from loadtests.bench.server import BenchError, Server
from loadtests.bench.terminal import fail, terminal
from loadtests.overload import report
from loadtests.overload.client import Job, Seen
from loadtests.overload.report import Result, Row
from services.core.errors import OperatorError, ServingError

TASK = "classification"
IN_FLIGHT = 64
TIMES = (1, 2, 3)
RAMP_SECONDS = 4.0
"""Before the window begins; longer than any deadline."""
SECONDS = 5.0


def run_overload(out: Path) -> None:
    """Measure, write ``overload.json`` and ``overload.md`` to ``out``, and print the table.

    Exits with an error when it cannot measure, or when any answer was wrong.
    """
    console = terminal()
    try:
        result = Result(machine.describe(), _measure(console))
    except (BenchError, OperatorError, ServingError, ValueError, OSError) as error:
        fail(str(error))
    report.write(result, out)
    console.print(report.markdown(result), markup=False)
    if any(row.seen.wrong for row in result.rows):
        sys.exit(1)


class _Bench:
    """A server and the client; and who else used the cores meanwhile."""

    def __init__(self, server: Server, client: "subprocess.Popen[str]") -> None:
        self._server = server
        self._client = client
        self._process = psutil.Process(client.pid)

    def measure(self, job: Job) -> tuple[float, Seen]:
        """One window, and the cores that neither server nor client had: with many, the window tells little."""
        started, others = time.monotonic(), self._others()
        seen = _ask(self._client, job)
        return (self._others() - others) / (time.monotonic() - started), seen

    def _others(self) -> float:
        known = processes.cpu_seconds([*self._server.members(), self._process])
        return processes.machine_busy_seconds() - sum(known.values())


def _measure(console: Console) -> tuple[Row, ...]:
    ports = Ports.free([TASK])
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder, TASK)
        write_samples(list(direct.right_answers(direct.load(TASK), read_sentences(SENTENCES))), samples)
        with Server("chorale", InProcess().command([TASK], ports)) as server, _client() as client:
            bench, rows = _Bench(server, client), []
            for protocol, port in (("REST", ports.rest), ("gRPC", ports.grpc)):
                for row in _protocol(bench, protocol, port, str(samples)):
                    console.print(f"{row.name}: {row.seen.goodput:,.0f}/s", markup=False)
                    rows.append(row)
    return tuple(rows)


def _protocol(bench: _Bench, protocol: str, port: int, samples: str) -> Iterator[Row]:
    others, peak = bench.measure(Job(protocol, port, samples, IN_FLIGHT, 0.0, RAMP_SECONDS, SECONDS))
    yield Row(protocol, f"{IN_FLIGHT} in flight", peak, 1.0, 1.0, others)
    for times in TIMES:
        job = Job(protocol, port, samples, 0, times * peak.goodput, RAMP_SECONDS, SECONDS)
        others, seen = bench.measure(job)
        yield Row(protocol, f"{times} x peak", seen, seen.goodput / peak.goodput, _per_core(seen, peak), others)


def _per_core(seen: Seen, peak: Seen) -> float:
    cores = psutil.cpu_count() or 1
    return seen.goodput / (cores - seen.client_cores) / (peak.goodput / (cores - peak.client_cores))


@contextmanager
def _client() -> "Iterator[subprocess.Popen[str]]":
    command: Sequence[str] = [sys.executable, "-m", "loadtests.overload.client"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _ask(client: "subprocess.Popen[str]", job: Job) -> Seen:
    if client.stdin is None or client.stdout is None:
        raise BenchError("the client has no pipes")
    client.stdin.write(json.dumps(asdict(job)) + "\n")
    client.stdin.flush()
    if not (answer := client.stdout.readline()):
        raise BenchError(f"the client ended with code {client.wait()}")
    seen = Seen(**json.loads(answer))
    if not seen.goodput:
        raise BenchError(f"no right answer on {job.protocol}: {seen.first_wrong}")
    return seen
