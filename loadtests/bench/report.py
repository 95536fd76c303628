"""A result as files: JSON, Markdown and the picture. Knows no process and measures nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from loadtests.bench import plot
from loadtests.bench.contenders import GRPC_LANE, TASK_LANE
from loadtests.bench.peers import AS_USED, PEERS, SORTED, TASK
from loadtests.bench.result import LIMIT, Figure, Result, Spread, Stack, Window, ratios, select, spread

COMMAND = "make bench"

_PEERS = f"""\
Requests per second of Chorale divided by each peer's: of the same round, then the median over the rounds (least to
most). All have the same `model.onnx` and `tokenizer.json`, batches of at most 32, and the better of 2 workers of 1
thread and 1 worker of 2 threads. *{AS_USED.title}*: a batch is padded to its longest text and run at once.
*{SORTED.title}*: the function that gets a batch sorts it by length and runs {SORTED.groups} texts at a time. How each
is set up, and why so: `loadtests/peers`.
"""

_PEERS_HEAD = (
    "peer",
    "in flight",
    *(f"{lane}, {batches.title}" for lane in ("REST lane", "gRPC lane") for batches in (AS_USED, SORTED)),
)

T = TypeVar("T")

_NOTES = """\
Every answer was checked: HTTP status and body, gRPC status and message. Medians over the rounds, least to most in
brackets. *CPU* is user and system time per request over the whole server process tree, idle work included; the
generator's own CPU is not in it, but it shares the cores. Compare rows of one table; absolute figures are this
machine's.
"""


def write(result: Result, out: Path) -> None:
    """``bench.json``, ``bench.md``, ``bench.png``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_bytes(result.to_json() + b"\n")
    (out / "bench.md").write_text(markdown(result), encoding="utf-8")
    plot.draw(result, out / "bench.png")


def markdown(result: Result) -> str:
    """The tables."""
    sections = ["# Benchmark", f"Command: `{COMMAND}`\n\n{_NOTES}", _facts(result)]
    if result.figures:
        sections += ["## What must be reached", _figures(result.figures)]
    for task in _distinct(window.task for window in result.windows):
        sections.append(f"## {task}")
        for in_flight in _distinct(w.in_flight for w in result.windows if w.task == task):
            sections += [f"### {in_flight} in flight", _series(result.windows, task, in_flight)]
        if task == TASK and (rows := _against_peers(result.windows)):
            sections += ["### Chorale against its peers", _PEERS, _table(_PEERS_HEAD, rows)]
    sections += ["## Servers at rest", _stacks(result.stacks)]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _facts(result: Result) -> str:
    versions = [name for name in result.machine if name not in ("date", "cpu", "cores", "memory", "system")]
    machine = ", ".join(result.machine[name] for name in ("cpu", "memory", "system") if name in result.machine)
    other = max((window.other_cores for window in result.windows), default=0.0)
    facts = {
        "date": result.machine.get("date", ""),
        "machine": f"{machine}, {result.machine.get('cores')} cores",
        "versions": ", ".join(f"{name} {result.machine[name]}" for name in versions),
        **result.plan,
        "answers": f"{sum(w.requests for w in result.windows)}, of which wrong: {result.wrong}",
        "CPU used by anything else": f"at most {other:.2f} cores in any window",
    }
    return _table(["", ""], list(facts.items()))


def _figures(figures: Sequence[Figure]) -> str:
    rows = []
    for figure in figures:
        bound = f"{'at least' if figure.at_least else 'at most'} {figure.limit:g} {figure.unit}"
        measured = f"{figure.value:.3g} {figure.unit}"
        rows.append([figure.name, measured.strip(), bound.strip(), _yes(met=figure.met)])
    return _table(["figure", "measured", "must be", "met"], rows)


def _yes(*, met: bool) -> str:
    return "yes" if met else "**no**"


def _series(windows: Sequence[Window], task: str, in_flight: int) -> str:
    limit = select(windows, LIMIT, task, in_flight)
    best = spread(limit, lambda window: window.rate).median if limit else None
    names = _distinct(w.series for w in windows if (w.task, w.in_flight) == (task, in_flight))
    rows = [_row(select(windows, name, task, in_flight), best) for name in sorted(names, key=lambda n: n == LIMIT)]
    head = ["contender", "req/s", "of limit", "p50 ms", "p99 ms", "CPU ms per request", "generator cores", "wrong"]
    return _table(head, rows)


def _row(rounds: Sequence[Window], best: float | None) -> list[str]:
    rate = spread(rounds, lambda window: window.rate)
    return [
        rounds[0].series,
        _spread(rate, 0),
        f"{rate.median / best:.0%}" if best else "",
        f"{spread(rounds, lambda window: window.p50_ms).median:.2f}",
        f"{spread(rounds, lambda window: window.p99_ms).median:.2f}",
        _spread(spread(rounds, lambda window: window.cpu_ms), 3),
        f"{spread(rounds, lambda window: window.generator_cores).median:.2f}",
        str(sum(window.wrong for window in rounds)),
    ]


def _against_peers(windows: Sequence[Window]) -> list[list[str]]:
    """A row for each peer and number in flight; no rows when no peer was measured."""
    rows = []
    for title in _distinct(peer.title for peer in PEERS):
        pairs = [(lane, peer) for lane in (TASK_LANE, GRPC_LANE) for peer in PEERS if peer.title == title]
        for in_flight in _distinct(w.in_flight for w in windows if w.series in {peer.series for _, peer in pairs}):
            found = [ratios(windows, lane, peer.series, TASK, in_flight) for lane, peer in pairs]
            if any(found):
                cells = [_spread(Spread.of(values), 2) if values else "" for values in found]
                rows.append([title, str(in_flight), *cells])
    return rows


def _stacks(stacks: Sequence[Stack]) -> str:
    rows = []
    for name, tasks in _distinct((stack.contender, stack.tasks) for stack in stacks):
        starts = [stack for stack in stacks if (stack.contender, stack.tasks) == (name, tasks)]
        last = starts[-1]
        rows.append(
            [
                f"{name}: {', '.join(tasks)}",
                _spread(Spread.of([stack.ready_seconds for stack in starts]), 1),
                _spread(Spread.of([stack.idle_cores for stack in starts]), 3),
                _spread(Spread.of([stack.pss_mib for stack in starts]), 0),
                f"{len(last.processes)}: {', '.join(_distinct(last.processes))}",
            ]
        )
    return _table(["server", "ready s", "idle CPU, cores", "PSS MiB", "processes"], rows)


def _spread(values: Spread, digits: int) -> str:
    middle, low, high = (f"{value:,.{digits}f}" for value in (values.median, values.low, values.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _distinct(values: Iterable[T]) -> list[T]:
    """In order of first appearance."""
    return list(dict.fromkeys(values))
