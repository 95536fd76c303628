"""The batch curve: how fast an artefact runs on this hardware, by items and cost of an engine run, and the shape to
serve it with.

A file beside the artefact's folder, one per kind of machine, so that several may share a store. Owns the record, its
place and its age. Knows nothing of how it is measured (see `models.measure`).
"""

import hashlib
import platform
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.store import ArtefactStore, recipe_digest
from services.core.catalog import BatchPolicy, ModelSpec


class Point(BaseModel):
    """One measurement."""

    model_config = ConfigDict(frozen=True)

    lanes: int
    """Engine runs at the same time."""
    threads: int
    """Threads inside each."""
    items: int
    """Items in each."""
    cost: int | None
    """Cost of each item (tokens, audio seconds, characters); none: a window of mixed costs, sorted and cut."""
    items_per_second: float
    """Of all lanes together."""


class BatchCurve(BaseModel):
    """What was measured, and what follows from it."""

    model_config = ConfigDict(frozen=True)

    machine: str
    recipe: str
    """Digest of the artefact that was timed."""
    batch_invariant: bool
    """Whether an item's answer is the same alone and in company; if not, it is served alone."""
    points: tuple[Point, ...]
    policy: BatchPolicy
    """The shape to serve with; only its measured fields are set."""


def machine(cpus: int) -> str:
    """The hardware a curve holds for."""
    info = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return f"{name[1] if name else platform.processor() or platform.machine()}, {cpus} CPUs"


def curve_file(store: ArtefactStore, spec: ModelSpec, cpus: int) -> Path:
    """Where the curve of a model on this machine is or would be."""
    digest = hashlib.sha256(machine(cpus).encode()).hexdigest()[:8]
    folder = store.folder(spec)
    return folder.with_name(f"{folder.name}.curve-{digest}.json")


def read_curve(store: ArtefactStore, spec: ModelSpec, cpus: int) -> BatchCurve | None:
    """The curve, or None if the artefact as it is now was never timed on such a machine."""
    try:
        curve = BatchCurve.model_validate_json(curve_file(store, spec, cpus).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return curve if curve.recipe == recipe_digest(spec) else None


def write_curve(curve: BatchCurve, file: Path) -> None:
    """Publish by renaming, so that a reader never sees half of it."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(curve.model_dump_json(indent=1, exclude_unset=True), encoding="utf-8")
    fresh.replace(file)


def settled(spec: ModelSpec, curve: BatchCurve | None) -> ModelSpec:
    """The model with the shape to serve it in: what its catalog entry sets, else what was measured, else defaults."""
    if curve is None:
        return spec
    chosen = curve.policy.model_dump(exclude_unset=True) | spec.batch.model_dump(exclude_unset=True)
    return spec.model_copy(update={"batch": BatchPolicy(**chosen)})
