"""A benchmark of several ways to do one thing: rounds over all of them, interleaved; and what is written.

Which ways there are, and what is to be said of them, is each benchmark's own.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Generic, Self, TypeVar

from rich.console import Console

from loadtests.bench import machine
from loadtests.bench.server import BenchError
from loadtests.bench.terminal import fail, terminal


@dataclass(frozen=True)
class Row:
    """One way: how much it did per second in each round."""

    name: str
    rates: tuple[float, ...]

    def __add__(self, later: Self) -> Self:
        """The same way, in the rounds of both."""
        measured = [field.name for field in fields(self) if field.name != "name"]
        return replace(self, **{name: getattr(self, name) + getattr(later, name) for name in measured})


RowT = TypeVar("RowT", bound=Row)

Round = Callable[[], Iterable[RowT]]
"""Measures all ways once, one after the other."""


@dataclass(frozen=True)
class Result(Generic[RowT]):
    """One run."""

    machine: dict[str, str]
    rows: tuple[RowT, ...]

    def share(self, name: str, of: str) -> float:
        """Of another row, median over the rounds."""
        own, other = self._row(name), self._row(of)
        return median(rate / limit for rate, limit in zip(own.rates, other.rates, strict=True))

    def _row(self, name: str) -> RowT:
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Comparison(Generic[RowT]):
    """What every run of one benchmark has in common.

    Args:
        name: of its files, and of its target in the Makefile: ``bench-<name>``.
        title: of its page.
        about: what was measured, and how.
        unit: what is counted.
        digits: of rates, after the point.
        columns: heads of the table beside way and rate, and what they say of a row.
        verdicts: what is to be reached, and whether it is; lines after the table.
    """

    name: str
    title: str
    about: str
    unit: str
    digits: int
    columns: Mapping[str, Callable[[Result[RowT], RowT], str]]
    verdicts: Callable[[Result[RowT]], Iterable[str]]

    def run(self, out: Path, rounds: int, prepare: Callable[[Path], Round[RowT]]) -> None:
        """Measure, write ``<name>.json`` and ``<name>.md`` to ``out``, and print the page.

        Exits with an error when it cannot measure.

        Args:
            out: a folder.
            rounds: how many.
            prepare: makes what is measured, in an empty folder, and returns what measures it.
        """
        console = terminal()
        try:
            with tempfile.TemporaryDirectory() as folder:
                console.print("making what is measured", markup=False)
                result = Result(machine.describe(), self._rows(console, rounds, prepare(Path(folder))))
        except (BenchError, ValueError, OSError) as error:
            fail(str(error))
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{self.name}.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
        (out / f"{self.name}.md").write_text(self.markdown(result), encoding="utf-8")
        console.print(self.markdown(result), markup=False)

    def markdown(self, result: Result[RowT]) -> str:
        """The page."""
        rows = [
            [row.name, self._rate(row), *(tell(result, row) for tell in self.columns.values())] for row in result.rows
        ]
        paragraphs = [
            f"# {self.title}",
            f"Command: `make bench-{self.name}`",
            self.about,
            _table("| | |", result.machine.items()),
            _table(_line(["way", f"{self.unit}/s", *self.columns]), rows),
            "\n".join(self.verdicts(result)),
        ]
        return "\n\n".join(paragraphs) + "\n"

    def _rows(self, console: Console, rounds: int, measure: Round[RowT]) -> tuple[RowT, ...]:
        found: dict[str, RowT] = {}
        for number in range(1, rounds + 1):
            for row in measure():
                console.print(f"round {number}: {row.name}: {row.rates[-1]:.1f} {self.unit}/s", markup=False)
                found[row.name] = found[row.name] + row if row.name in found else row
        return tuple(found.values())

    def _rate(self, row: RowT) -> str:
        middle, low, high = (f"{rate:.{self.digits}f}" for rate in (median(row.rates), min(row.rates), max(row.rates)))
        return f"{middle} ({low} to {high})"


def verdict(share: float, least: float) -> str:
    """Whether that is reached."""
    return f"{share:.2f}, {'yes' if share >= least else '**no**'}"


def _table(head: str, rows: Iterable[Iterable[str]]) -> str:
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *map(_line, rows)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
