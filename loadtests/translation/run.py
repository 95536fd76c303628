"""The plan: build the model, then rounds over all ways to translate with it, interleaved; and what is written."""

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
from loadtests.translation.direct import WAYS
from loadtests.translation.load import measure
from loadtests.translation.shape import SENTENCES, TOKENS, VOCABULARY, candidates, sentences
from models.store import ArtefactStore
from services.core.catalog import read_catalog

LIMIT = "CTranslate2 directly, one batch on two lanes"
NAMES = {
    "batched": LIMIT,
    "one by one": "CTranslate2 directly, one by one",
    "transformers": "transformers bf16, one batch",
}
AT_LEAST = 0.9
"""What is to be reached of the limit."""


@dataclass(frozen=True)
class Row:
    """One way: sentences per second in each round."""

    name: str
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """One run."""

    machine: dict[str, str]
    rows: tuple[Row, ...]

    def share(self, name: str) -> float:
        """Of the limit, median over the rounds."""
        limit, row = self._row(LIMIT), self._row(name)
        return median(rate / other for rate, other in zip(row.rates, limit.rates, strict=True))

    def _row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def run_translation(out: Path, *, quick: bool = False) -> None:
    """Measure, write ``translation.json`` and ``translation.md`` to ``out``, and print the table.

    Exits with an error when it cannot measure.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = _measure(console, Path(folder), rounds=1 if quick else 3, seconds=2.0 if quick else 8.0)
    except (BenchError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(1)
    out.mkdir(parents=True, exist_ok=True)
    (out / "translation.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    (out / "translation.md").write_text(markdown(result), encoding="utf-8")
    console.print(markdown(result), markup=False)


def _measure(console: Console, folder: Path, rounds: int, seconds: float) -> Result:
    console.print("making and building the model", markup=False)
    artefact = _build(folder)
    rates: dict[str, list[float]] = {}
    for number in range(1, rounds + 1):
        for name, rate in _round(folder, artefact, seconds):
            console.print(f"round {number}: {name}: {rate:.1f} sentences/s", markup=False)
            rates.setdefault(name, []).append(rate)
    return Result(machine.describe(), tuple(Row(name, tuple(found)) for name, found in rates.items()))


def _round(folder: Path, artefact: Path, seconds: float) -> Iterator[tuple[str, float]]:
    for way in WAYS:
        yield (
            NAMES[way],
            float(run_module("loadtests.translation.direct", way, str(artefact), str(folder), str(seconds))),
        )
    with served(_environment(folder)) as ports:
        for pattern in ("steady", "bursts"):
            for protocol, port in (("REST", ports.rest), ("gRPC", ports.grpc)):
                name = f"Chorale {protocol}, {SENTENCES} callers, {pattern}"
                yield name, uvloop.run(measure(sentences(folder), protocol, pattern, port, seconds))


def _build(folder: Path) -> Path:
    """Make checkpoint, catalog and artefact; returns the artefact's folder."""
    run_module("loadtests.translation.shape", str(folder))
    examples = folder / "gate.en-de.tsv"  # the model says nothing that could be judged
    examples.write_text("".join(f"{text}\t{text}\n" for text in candidates(2)), encoding="utf-8")
    catalog = folder / "catalog"
    catalog.mkdir()
    entry = {
        "name": "opus-shape",
        "default": True,
        "description": "Random weights of the shape of opus-mt.",
        "engine": "ctranslate2",
        "architecture": "seq2seq",
        "sources": {"checkpoint": {"uri": f"path:{folder / 'checkpoint'}"}},
        "languages": {"en": "en", "de": "de"},
        "pairs": ["en-de"],
        "max_tokens": 128,
        "precision": "int8",
        "batch": {
            "group_items": 32,
            "group_cost": 8192,
            "run_cost": 8192,
            "window_items": 32,
            "window_cost": 8192,
            "gather": 0.05,
            "queue_seconds": 10,
        },
        "gate": {"examples": str(examples), "max_score_drop": 100, "min_agreement": 0},
        "licence": "none",
    }
    (catalog / "translation.yaml").write_text(yaml.safe_dump({"models": [entry]}), encoding="utf-8")
    run_module("services.runtime.cli", "models", "build", environment=_environment(folder))
    (spec,) = read_catalog([catalog], ["translation"]).specs
    artefact = ArtefactStore(folder / "home").folder(spec)
    run_module("loadtests.translation.direct", "choose", str(artefact), str(folder), "0")
    return artefact


def _environment(folder: Path) -> dict[str, str]:
    return {
        "CHORALE_HOME": str(folder / "home"),
        "CHORALE_CATALOG": str(folder / "catalog"),
        "CHORALE_TASKS": "translation",
    }


def _spread(row: Row) -> str:
    return f"{median(row.rates):.1f} ({min(row.rates):.1f} to {max(row.rates):.1f})"


def markdown(result: Result) -> str:
    """The table."""
    about = [f"| {name} | {value} |" for name, value in result.machine.items()]
    rows = [f"| {row.name} | {_spread(row)} | {result.share(row.name):.2f} |" for row in result.rows]
    ours = [row.name for row in result.rows if row.name.startswith("Chorale")]
    least = min(result.share(name) for name in ours)
    verdict = "yes" if least >= AT_LEAST else "**no**"
    return "\n".join(
        [
            "# Translation",
            "",
            "Command: `make bench-translation`",
            "",
            f"A model of the shape of opus-mt (Marian, 74 M parameters, {VOCABULARY:,} tokens) with random weights,"
            f" int8, greedy; {SENTENCES} sentences of {TOKENS} tokens, whose translations have about as many."
            " Sentences per second, medians over the rounds, least to most in brackets. Chorale:"
            " `chorale serve --in-process`, one sentence per request, client and server on the same cores.",
            "",
            "| | |",
            "|---|---|",
            *about,
            "",
            "| way | sentences/s | of the limit |",
            "|---|---|---|",
            *rows,
            "",
            f'Every row of Chorale at least {AT_LEAST} of "{LIMIT}": {least:.2f}, {verdict}.',
            "",
        ]
    )
