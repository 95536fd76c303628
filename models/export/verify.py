"""The gate: a built model is compared with its fp32 reference on labelled examples, and refused if it lost too much."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.sources import RECIPES
from services.core import imports
from services.core.catalog import Gate, ModelSpec
from services.core.engine import Encoder, EngineOptions, Logits, TokenIds
from services.core.errors import OperatorError
from services.core.evaluation import Evaluate, Evaluation
from services.core.task import Task
from services.engines import engine_class


class GateError(OperatorError):
    """The candidate lost more than its gate allows; nothing is published."""


class Report(BaseModel):
    """A candidate beside its reference. Scores are the task's primary metric; sizes in bytes; times in seconds."""

    model_config = ConfigDict(frozen=True)

    examples: str
    metric: str
    reference_score: float
    score: float
    agreement: float
    """Share of examples on which both give the same answer."""
    reference_bytes: int
    bytes: int
    reference_seconds: float
    seconds: float


def verify(task: Task, spec: ModelSpec, reference: Path, candidate: Path, examples: Path | None = None) -> Report:
    """Compare two artefact folders of ``spec``.

    Args:
        task: its evaluation is used.
        spec: the model, with its gate.
        reference: fp32 artefact.
        candidate: artefact that may be published.
        examples: labelled examples; by default those of the gate.

    Raises:
        GateError: no gate is set, or the candidate does not pass it.
    """
    gate = require_gate(task, spec)
    examples = examples or RECIPES / gate.examples
    before, reference_seconds = run_evaluation(task, spec, reference, examples)
    after, seconds = run_evaluation(task, spec, candidate, examples)
    same = sum(a == b for a, b in zip(before.answers, after.answers, strict=True))
    report = Report(
        examples=examples.name,
        metric=after.primary,
        reference_score=before.score,
        score=after.score,
        agreement=same / len(after.answers),
        reference_bytes=size(reference),
        bytes=size(candidate),
        reference_seconds=reference_seconds,
        seconds=seconds,
    )
    _judge(spec, gate, report)
    return report


def size(artefact: Path) -> int:
    """Bytes of an artefact folder, its manifest not counted."""
    files = (path for path in artefact.rglob("*") if path.is_file() and path.name != "manifest.json")
    return sum(path.stat().st_size for path in files)


def require_gate(task: Task, spec: ModelSpec) -> Gate:
    """The model's gate.

    Raises:
        GateError: there is none, or nothing to measure with.
    """
    if spec.gate is None or task.evaluation is None:
        raise GateError(f"{spec.id}: the catalog sets no gate, so nothing can vouch for {spec.precision}; add one")
    return spec.gate


def _judge(spec: ModelSpec, gate: Gate, report: Report) -> None:
    drop = report.reference_score - report.score
    if drop > gate.max_score_drop:
        raise GateError(
            f"{spec.id} {spec.precision} not published: {report.metric} fell by {drop:.4f}"
            f" ({report.reference_score:.4f} -> {report.score:.4f}); its gate allows {gate.max_score_drop:g}"
        )
    if report.agreement < gate.min_agreement:
        raise GateError(
            f"{spec.id} {spec.precision} not published: it agrees with fp32 on {report.agreement:.1%} of examples;"
            f" its gate asks for {gate.min_agreement:.1%}"
        )


def seen_inputs(task: Task, spec: ModelSpec, reference: Path, gate: Gate) -> list[TokenIds]:
    """What an encoder is given when the gate's examples are run: calibration inputs, without labels."""
    engine = _Recorder(engine_class(spec.engine).load(reference, EngineOptions()))
    _evaluate(task, spec, reference, RECIPES / gate.examples, engine)
    return engine.seen


class _Recorder:
    """An encoder that remembers what it was given."""

    def __init__(self, engine: Encoder) -> None:
        self._engine = engine
        self.seen: list[TokenIds] = []

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        """The engine's answer."""
        self.seen += batch
        return self._engine.run(batch)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def run_evaluation(task: Task, spec: ModelSpec, artefact: Path, examples: Path) -> tuple[Evaluation, float]:
    """Score one artefact folder; the evaluation and the seconds it took."""
    return _evaluate(task, spec, artefact, examples, engine_class(spec.engine).load(artefact, EngineOptions()))


def _evaluate(task: Task, spec: ModelSpec, artefact: Path, examples: Path, engine: Any) -> tuple[Evaluation, float]:
    pipeline = imports.load(task.methods[0].pipeline).load(spec, artefact, engine)
    evaluate: Evaluate = imports.load(task.evaluation or "")
    started = time.monotonic()
    try:
        return evaluate(pipeline, examples, spec.batch.group_items), round(time.monotonic() - started, 3)
    finally:
        pipeline.close()
