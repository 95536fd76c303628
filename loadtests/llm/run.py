"""The plan: make the model, then rounds over all ways to generate with it, interleaved; and what is written."""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import uvloop
import yaml
from rich.console import Console

from loadtests.bench import machine
from loadtests.bench.modules import run_module, served
from loadtests.bench.server import BenchError
from loadtests.llm.direct import BATCH
from loadtests.llm.load import Measured, measure
from loadtests.llm.shape import ADAPTERS, NEW_TOKENS, PROMPT_TOKENS, RANK

STATIC = "transformers generate, a static batch of 16"
ONE = "transformers generate, one at a time"
DIRECT = {
    "static": STATIC,
    "one at a time": ONE,
    "mixed adapters": f"peft, a static batch of 16 over {ADAPTERS} adapters and the base",
    "continuous": "transformers' continuous batching, 16 prompts",
}
MIXED = f"Chorale, 16 streams over {ADAPTERS} adapters and the base"
BASE = "Chorale, 16 streams on the base"
SINGLE = "Chorale, one stream on the base"
INT4 = "Chorale, one stream on int4 (onnxruntime-genai)"
TARGETS = [(MIXED, STATIC, 0.7), (MIXED, ONE, 4.0), (INT4, ONE, 4.0)]
"""Which row is to reach which share of which other one."""


@dataclass(frozen=True)
class Row:
    """One way: new tokens per second in each round, and for streams the 95th percentile of the time to the first."""

    name: str
    rates: tuple[float, ...]
    first_p95: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """One run."""

    machine: dict[str, str]
    rows: tuple[Row, ...]

    def share(self, name: str, of: str) -> float:
        """Of another row, median over the rounds."""
        own, other = self._row(name), self._row(of)
        return median(rate / limit for rate, limit in zip(own.rates, other.rates, strict=True))

    def _row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def run_llm(out: Path, rounds: int, seconds: float = 12.0) -> None:
    """Measure, write ``llm.json`` and ``llm.md`` to ``out``, and print the table.

    Exits with an error when it cannot measure.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = _measure(console, Path(folder), rounds, seconds)
    except (BenchError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(1)
    out.mkdir(parents=True, exist_ok=True)
    (out / "llm.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    (out / "llm.md").write_text(markdown(result), encoding="utf-8")
    console.print(markdown(result), markup=False)


def _measure(console: Console, folder: Path, rounds: int, seconds: float) -> Result:
    console.print("making and building the models", markup=False)
    _build(folder)
    found: dict[str, list[tuple[float, float | None]]] = {}
    for number in range(1, rounds + 1):
        for name, rate, first in _round(folder, seconds):
            console.print(f"round {number}: {name}: {rate:.1f} tokens/s", markup=False)
            found.setdefault(name, []).append((rate, first))
    rows = (
        Row(name, tuple(rate for rate, _ in several), tuple(first for _, first in several if first is not None))
        for name, several in found.items()
    )
    return Result(machine.describe(), tuple(rows))


def _round(folder: Path, seconds: float) -> Iterator[tuple[str, float, float | None]]:
    for way, name in DIRECT.items():
        yield name, float(run_module("loadtests.llm.direct", way, str(folder), str(seconds))), None
    models = ["llama", *(f"llama:a{number}" for number in range(ADAPTERS))]
    with served(_environment(folder, "torch")) as ports:
        for name, asked in (
            (MIXED, [models[place % len(models)] for place in range(BATCH)]),
            (BASE, ["llama"] * BATCH),
            (SINGLE, ["llama"]),
        ):
            yield name, *_figures(uvloop.run(measure(ports.rest, asked, seconds)))
    with served(_environment(folder, "genai")) as ports:
        yield INT4, *_figures(uvloop.run(measure(ports.rest, ["llama"], seconds)))


def _figures(measured: Measured) -> tuple[float, float]:
    return measured.rate, measured.first[int(0.95 * len(measured.first))]


def _build(folder: Path) -> None:
    """Make checkpoint, adapters, catalogs and artefacts."""
    run_module("loadtests.llm.shape", str(folder))
    common = {
        "name": "llama",
        "default": True,
        "description": "Random weights.",
        "sources": {"weights": {"uri": f"path:{folder / 'checkpoint'}"}},
        "max_tokens": 2048,
        "licence": "none",
    }
    _write_catalog(
        folder,
        "torch",
        common | {"engine": "torch-lm", "architecture": "causal-lm", "precision": "bf16", "max_adapter_rank": RANK},
    )
    _write_catalog(
        folder, "genai", common | {"engine": "genai", "architecture": "causal-lm-genai", "precision": "int4"}
    )
    for engine in ("torch", "genai"):
        run_module("services.runtime.cli", "models", "build", environment=_environment(folder, engine))
    for number in range(ADAPTERS):
        adapter = [str(folder / f"adapter-{number}"), "--name", f"a{number}", "--base", "llama"]
        run_module("services.runtime.cli", "adapters", "add", *adapter, environment=_environment(folder, "torch"))


def _write_catalog(folder: Path, engine: str, entry: dict[str, object]) -> None:
    catalog = folder / f"catalog-{engine}"
    catalog.mkdir()
    (catalog / "llm.yaml").write_text(yaml.safe_dump({"models": [entry]}), encoding="utf-8")


def _environment(folder: Path, engine: str) -> dict[str, str]:
    return {
        "CHORALE_HOME": str(folder / f"home-{engine}"),
        "CHORALE_CATALOG": str(folder / f"catalog-{engine}"),
        "CHORALE_TASKS": "llm",
    }


def markdown(result: Result) -> str:
    """The table."""
    about = [f"| {name} | {value} |" for name, value in result.machine.items()]
    rows = [
        f"| {row.name} | {median(row.rates):.0f} ({min(row.rates):.0f} to {max(row.rates):.0f})"
        f" | {result.share(row.name, STATIC):.2f} | {result.share(row.name, ONE):.1f}"
        f" | {f'{median(row.first_p95) * 1000:.0f}' if row.first_p95 else ''} |"
        for row in result.rows
    ]
    verdicts = [
        f'- "{name}" at least {least:g} of "{of}": {share:.2f}, {"yes" if share >= least else "**no**"}'
        for name, of, least in TARGETS
        for share in (result.share(name, of),)
    ]
    return "\n".join(
        [
            "# Text generation",
            "",
            "Command: `make bench-llm`",
            "",
            "A Llama of 110 M parameters with random weights in bf16 (but for the int4 row), adapters of rank"
            f" {RANK} on all linear layers; {PROMPT_TOKENS} prompt tokens and {NEW_TOKENS} new ones, greedy. New tokens"
            " per second over whole calls, medians over the rounds, least to most in brackets. Chorale:"
            " `chorale serve --in-process`, streams of `/v1/completions`, client and server on the same cores.",
            "",
            "| | |",
            "|---|---|",
            *about,
            "",
            "| way | tokens/s | of the static batch | times one at a time | first token, p95, ms |",
            "|---|---|---|---|---|",
            *rows,
            "",
            *verdicts,
            "",
        ]
    )
