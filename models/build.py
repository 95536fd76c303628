"""How an artefact is built: fetch sources -> export -> quantize -> verify against fp32 -> time it on this machine.

Imported by the command line and by start-up when something has to be built; never by a serving replica.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from models.curve import BatchCurve, curve_file, read_curve, write_curve
from models.export import QUANTIZING, UNGATED, ExportError, exporter
from models.export.verify import require_gate, seen_inputs, verify
from models.measure import measure
from models.sources import fetch
from models.store import ArtefactStore
from services.core.catalog import ModelSpec, Precision
from services.core.task import Task

Progress = Callable[[str], None]


class Builder:
    """Builds artefacts of a task's models into a store.

    Args:
        store: where artefacts go.
        tasks: by name; their evaluation decides whether a quantized model may be published.
        progress: told each step as it starts.
    """

    def __init__(self, store: ArtefactStore, tasks: dict[str, Task], progress: Progress) -> None:
        self._store = store
        self._tasks = tasks
        self._progress = progress

    def ensure(self, spec: ModelSpec) -> Path | None:
        """The sound artefact of ``spec``, built if it must be; None for engines that need none.

        Raises:
            SourceError: a source is missing or altered.
            ExportError: it cannot be built as asked.
            GateError: the quantized model lost more than its gate allows.
        """
        return self._store.ensure(spec, self._build) if spec.architecture else None

    def curve(self, spec: ModelSpec, cpus: int, *, again: bool = False) -> BatchCurve:
        """The batch curve of the sound artefact of ``spec`` on this machine, measured if it must be.

        Args:
            spec: its artefact is there.
            cpus: CPU share it will be served with.
            again: measure even if there is one.
        """
        file = curve_file(self._store, spec, cpus)
        with FileLock(file.with_suffix(".lock")):  # two at once would slow each other down
            curve = None if again else read_curve(self._store, spec, cpus)
            if curve is None:
                curve = measure(self._tasks[spec.task], spec, self._store, cpus, self._progress)
                write_curve(curve, file)
        return curve

    def _build(self, spec: ModelSpec, target: Path) -> dict[str, Any]:
        started = time.monotonic()
        if spec.architecture in UNGATED or spec.precision == Precision.FP32:
            report = self._export(spec, target)
        else:
            report = self._quantize(spec, target)
        return {**report, "build_seconds": round(time.monotonic() - started, 1)}

    def _export(self, spec: ModelSpec, target: Path) -> dict[str, Any]:
        self._progress("fetching sources")
        folders = {role: fetch(source) for role, source in spec.sources.items()}
        self._progress(f"exporting for {spec.engine} in {spec.precision}")
        return dict(exporter(spec.architecture)(spec, folders, target))

    def _quantize(self, spec: ModelSpec, target: Path) -> dict[str, Any]:
        if spec.precision != Precision.INT8:
            raise ExportError(f"{spec.id}: {spec.architecture} is not made in {spec.precision}; use fp32 or int8")
        task = self._tasks[spec.task]
        gate = require_gate(task, spec)
        reference_spec = spec.model_copy(update={"precision": Precision.FP32})
        reference = self._store.ensure(reference_spec, self._build)
        exported = self._export(spec, target) if spec.architecture in QUANTIZING else {}
        if not exported:
            from models.export.quantize import quantize

            self._progress("quantizing to int8")
            quantize(reference, target, seen_inputs(task, spec, reference, gate), spec.keep_fp32)
        self._progress("verifying int8 against fp32")
        return {**exported, **verify(task, spec, reference, target).model_dump()}
