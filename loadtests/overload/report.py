"""The results as JSON, and as a Markdown table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.overload.client import Seen


@dataclass(frozen=True)
class Row:
    """One window."""

    protocol: str
    load: str
    seen: Seen
    share: float
    """Goodput, of the peak."""
    share_per_core: float
    """Goodput per core that the client left to the server, of the peak's."""
    others_cores: float
    """Used by anything but server and client."""

    @property
    def name(self) -> str:
        """For progress."""
        return f"{self.protocol}, {self.load}"


@dataclass(frozen=True)
class Result:
    """One run."""

    machine: Mapping[str, str]
    rows: tuple[Row, ...]


_HEAD = (
    "load",
    "offered/s",
    "goodput/s",
    "of peak",
    "per core left",
    "p50 ms",
    "p99 ms",
    "refused/s",
    "refusal p99 ms",
    "expired/s",
    "wrong",
    "client cores",
    "others' cores",
)
_ABOUT = """# Overload

Command: `make overload`

`chorale serve --in-process --tasks classification`, real sentences, every call with a deadline of 2 s. The peak is
closed loop with 64 in flight. After that arrivals are random, at one, two and three times the peak, and wait for no
answer. Goodput is right answers in time; p50 and p99 are theirs, from when the call was due. *Refused* is OVERLOADED
with a time to retry after, *expired* is a deadline missed. The client runs on the same cores as the server: three times
the calls cost it more than the peak did, which a client on another machine would not take from the server. *Per core
left* is goodput per core that the client did not use, of the same at the peak. Anything else that runs (*others'
cores*) takes from both: compare rows only where that is near zero.
"""


def write(result: Result, out: Path) -> None:
    """``overload.json`` and ``overload.md``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "overload.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    (out / "overload.md").write_text(markdown(result), encoding="utf-8")


def markdown(result: Result) -> str:
    """What `write` writes."""
    about = ", ".join(result.machine[fact] for fact in ("date", "cpu", "memory", "system"))
    lines = [_ABOUT, f"Machine: {about}, {result.machine['cores']} cores.", ""]
    lines += [_line(("protocol", *_HEAD)), _line(["---"] * (len(_HEAD) + 1)), *map(_row, result.rows)]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    seen = row.seen
    rates = (f"{seen.offered:,.0f}", f"{seen.goodput:,.0f}", f"{row.share:.0%}", f"{row.share_per_core:.0%}")
    times = (f"{seen.p50_ms:.0f}", f"{seen.p99_ms:.0f}")
    refusals = (f"{seen.refused:,.0f}", f"{seen.refused_p99_ms:.0f}", f"{seen.expired:,.1f}")
    cores = (f"{seen.client_cores:.2f}", f"{row.others_cores:.2f}")
    return _line((row.protocol, row.load, *rates, *times, *refusals, str(seen.wrong), *cores))


def _line(cells: "list[str] | tuple[str, ...]") -> str:
    return f"| {' | '.join(cells)} |"
