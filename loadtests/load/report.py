"""What a load test leaves: a table on the screen, ``load.json`` and ``load.png`` beside locust's HTML and CSV files."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from loadtests.load.profile import Profile
from loadtests.load.result import LoadResult, Second


def table(result: LoadResult) -> Table:
    """A row per method and protocol, then all together."""
    columns = ("calls", "protocol", "number", "errors", "good/s", "p50 ms", "p95 ms", "p99 ms")
    found = Table(*columns, box=None, pad_edge=False)
    for seen in (*result.parts, result.total):
        times = (f"{value:,.0f}" for value in (seen.p50_ms, seen.p95_ms, seen.p99_ms))
        found.add_row(seen.name, seen.protocol, f"{seen.calls:,}", f"{seen.errors:,}", f"{seen.rate:,.1f}", *times)
    return found


def write(profile: Profile, result: LoadResult, lines: Sequence[str], out: Path) -> None:
    """JSON and plot."""
    content = {"profile": profile.model_dump(), "missed": list(lines), **asdict(result)}
    (out / "load.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    plot(result.seconds, out / "load.png")


def plot(seconds: Sequence[Second], file: Path) -> None:
    """Throughput and latency over time, one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    rate, latency = figure.subplots(2, 1, sharex=True)
    at = [second.at for second in seconds]
    rate.plot(at, [second.rate for second in seconds], label="calls")
    rate.plot(at, [second.errors for second in seconds], label="errors", color="tab:red")
    rate.set_ylabel("per second")
    latency.plot(at, [second.p50_ms for second in seconds], label="p50")
    latency.plot(at, [second.p95_ms for second in seconds], label="p95")
    latency.set_ylabel("ms")
    latency.set_xlabel("seconds")
    for axes in (rate, latency):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right")
    figure.savefig(file, dpi=120)
