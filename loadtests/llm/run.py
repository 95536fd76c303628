"""Ways to generate text with one model: how it is made, what a round does, and what is to be reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import uvloop
import yaml

from loadtests.bench.comparison import Comparison, Result, Round, Row, verdict
from loadtests.bench.modules import run_module, served
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
class StreamRow(Row):
    """Also the 95th percentile of the seconds to the first token in each round, where answers are streamed."""

    first_p95: tuple[float, ...] = ()


def run_llm(out: Path, rounds: int, seconds: float = 12.0) -> None:
    """Measure, write ``llm.json`` and ``llm.md`` to ``out``, and print the page."""
    COMPARISON.run(out, rounds, partial(_prepare, seconds=seconds))


def _prepare(folder: Path, seconds: float) -> Round[StreamRow]:
    _build(folder)
    return partial(_round, folder, seconds)


def _round(folder: Path, seconds: float) -> Iterator[StreamRow]:
    for way, name in DIRECT.items():
        yield StreamRow(name, (float(run_module("loadtests.llm.direct", way, str(folder), str(seconds))),))
    models = ["llama", *(f"llama:a{number}" for number in range(ADAPTERS))]
    with served(_environment(folder, "torch")) as ports:
        for name, asked in (
            (MIXED, [models[place % len(models)] for place in range(BATCH)]),
            (BASE, ["llama"] * BATCH),
            (SINGLE, ["llama"]),
        ):
            yield _streamed(name, uvloop.run(measure(ports.rest, asked, seconds)))
    with served(_environment(folder, "genai")) as ports:
        yield _streamed(INT4, uvloop.run(measure(ports.rest, ["llama"], seconds)))


def _streamed(name: str, measured: Measured) -> StreamRow:
    return StreamRow(name, (measured.rate,), (measured.first[int(0.95 * len(measured.first))],))


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


def _first(_: Result[StreamRow], row: StreamRow) -> str:
    return f"{median(row.first_p95) * 1000:.0f}" if row.first_p95 else ""


def _verdicts(result: Result[StreamRow]) -> Iterator[str]:
    for name, of, least in TARGETS:
        yield f'- "{name}" at least {least:g} of "{of}": {verdict(result.share(name, of), least)}'


COMPARISON = Comparison(
    name="llm",
    title="Text generation",
    about=(
        "A Llama of 110 M parameters with random weights in bf16 (but for the int4 row), adapters of rank"
        f" {RANK} on all linear layers; {PROMPT_TOKENS} prompt tokens and {NEW_TOKENS} new ones, greedy. New tokens"
        " per second over whole calls, medians over the rounds, least to most in brackets. Chorale:"
        " `chorale serve --in-process`, streams of `/v1/completions`, client and server on the same cores."
    ),
    unit="tokens",
    digits=0,
    columns={
        "of the static batch": lambda result, row: f"{result.share(row.name, STATIC):.2f}",
        "times one at a time": lambda result, row: f"{result.share(row.name, ONE):.1f}",
        "first token, p95, ms": _first,
    },
    verdicts=_verdicts,
)
