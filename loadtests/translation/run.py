"""Ways to translate with one model: how it is made, what a round does, and what is to be reached."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvloop
import yaml

from loadtests.bench.comparison import Comparison, Result, Round, Row, verdict
from loadtests.bench.modules import run_module, served
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


def run_translation(out: Path, *, quick: bool = False) -> None:
    """Measure, write ``translation.json`` and ``translation.md`` to ``out``, and print the page."""
    COMPARISON.run(out, 1 if quick else 3, partial(_prepare, seconds=2.0 if quick else 8.0))


def _prepare(folder: Path, seconds: float) -> Round[Row]:
    return partial(_round, folder, _build(folder), seconds)


def _round(folder: Path, artefact: Path, seconds: float) -> Iterator[Row]:
    for way in WAYS:
        said = run_module("loadtests.translation.direct", way, str(artefact), str(folder), str(seconds))
        yield Row(NAMES[way], (float(said),))
    with served(_environment(folder)) as ports:
        for pattern in ("steady", "bursts"):
            for protocol, port in (("REST", ports.rest), ("gRPC", ports.grpc)):
                rate = uvloop.run(measure(sentences(folder), protocol, pattern, port, seconds))
                yield Row(f"Chorale {protocol}, {SENTENCES} callers, {pattern}", (rate,))


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


def _verdicts(result: Result[Row]) -> Iterator[str]:
    least = min(result.share(row.name, LIMIT) for row in result.rows if row.name.startswith("Chorale"))
    yield f'Every row of Chorale at least {AT_LEAST} of "{LIMIT}": {verdict(least, AT_LEAST)}.'


COMPARISON = Comparison(
    name="translation",
    title="Translation",
    about=(
        f"A model of the shape of opus-mt (Marian, 74 M parameters, {VOCABULARY:,} tokens) with random weights,"
        f" int8, greedy; {SENTENCES} sentences of {TOKENS} tokens, whose translations have about as many."
        " Sentences per second, medians over the rounds, least to most in brackets. Chorale:"
        " `chorale serve --in-process`, one sentence per request, client and server on the same cores."
    ),
    unit="sentences",
    digits=1,
    columns={"of the limit": lambda result, row: f"{result.share(row.name, LIMIT):.2f}"},
    verdicts=_verdicts,
)
