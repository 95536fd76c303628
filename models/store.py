"""The artefact store: built models under ``CHORALE_HOME``, each with a manifest that says what it must contain.

    <home>/artefacts/<task>/<name>@<version>/<precision>/   model files + manifest.json

An artefact is published by renaming a finished folder, so a reader never sees half of one; a lock keeps two
processes from building the same one. Opening checks every file's digest; what is missing, stale or corrupted is
built again. Knows nothing of how building is done (see `models.build`).
"""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from models.sources import RECIPES, fingerprint, sha256
from services.core.catalog import ModelSpec, Precision
from services.core.errors import OperatorError

log = logging.getLogger(__name__)

BUILD_FORMAT = 3
"""Raised when exporters change what they write, so that older artefacts are built again."""

Build = Callable[[ModelSpec, Path], dict[str, Any]]
"""Fills a folder with an artefact's files; returns the report for its manifest."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StoreError(OperatorError):
    """The store cannot be written; nothing was published, and what was there is there."""


class Manifest(BaseModel):
    """What an artefact folder must contain, and how it came to be."""

    model_config = ConfigDict(frozen=True)

    model: str
    precision: str
    recipe: str
    """Digest of everything the build depends on: catalog entry, sources' digests, build format."""
    files: dict[str, str]
    report: dict[str, Any] = {}


_BUILT_FROM = (
    "task",
    "name",
    "version",
    "engine",
    "architecture",
    "sources",
    "labels",
    "languages",
    "pairs",
    "precision",
)


def recipe_digest(spec: ModelSpec) -> str:
    """Changes whenever the artefact would."""
    quantized = () if spec.precision == Precision.FP32 else ("gate", "keep_fp32")
    fields = spec.model_dump(mode="json", include={*_BUILT_FROM, *quantized})
    inputs = {role: fingerprint(source) for role, source in spec.sources.items()}
    examples = RECIPES / spec.gate.examples if spec.gate and quantized else None
    judged_by = sha256(examples) if examples and examples.is_file() else ""
    text = json.dumps({"format": BUILD_FORMAT, "inputs": inputs, "examples": judged_by, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ArtefactStore:
    """Artefacts below one folder."""

    def __init__(self, home: Path) -> None:
        self._root = home / "artefacts"

    def folder(self, spec: ModelSpec) -> Path:
        """Where the artefact of ``spec`` is or would be."""
        return self._root / spec.task / spec.id / spec.precision

    def ensure(self, spec: ModelSpec, build: Build) -> Path:
        """The artefact's folder, verified; built first when it has to be.

        Raises:
            whatever ``build`` raises; nothing is published then, and an earlier sound artefact stays.
        """
        if self.fault(spec) is None:
            return self.folder(spec)
        self.folder(spec).parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder(spec).with_suffix(".lock"), f"{spec.id} {spec.precision}"):
            if (fault := self.fault(spec)) is not None:  # another process may have built it meanwhile
                if fault != "not built":
                    log.warning("artefact %s %s: %s; building it again", spec.id, spec.precision, fault)
                self._publish(spec, build)
        return self.folder(spec)

    def fault(self, spec: ModelSpec) -> str | None:
        """What is wrong with the artefact, or None if it is sound."""
        folder = self.folder(spec)
        try:
            manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        except FileNotFoundError:
            return "not built"
        except ValidationError:
            return "unreadable manifest.json"
        if manifest.recipe != recipe_digest(spec):
            return "built from another catalog entry or by another version"
        return _damage(folder, manifest.files)

    def _publish(self, spec: ModelSpec, build: Build) -> None:
        folder = self.folder(spec)
        fresh = folder.with_name(f".building-{folder.name}")  # ours alone: the lock is held
        old = folder.with_name(f".old-{folder.name}")
        shutil.rmtree(fresh, ignore_errors=True)  # of a build that was killed
        fresh.mkdir()
        try:
            report = build(spec, fresh)
            files = {str(path.relative_to(fresh)): sha256(path) for path in sorted(fresh.rglob("*")) if path.is_file()}
            manifest = Manifest(
                model=spec.id, precision=spec.precision, recipe=recipe_digest(spec), files=files, report=report
            )
            (fresh / "manifest.json").write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise StoreError(
                f"cannot write {fresh}: {error.strerror}; free some space, or move CHORALE_HOME"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(lock: Path, what: str) -> Iterator[None]:
    """Nobody else builds this meanwhile; the lock of a process that died is free."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.warning("another process is building %s; waiting for it", what)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _damage(folder: Path, files: dict[str, str]) -> str | None:
    """How a folder's files differ from what its manifest says, or None."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    for name in sorted(there ^ set(files)):
        return f"{name} is not in manifest.json" if name in there else f"{name} is missing"
    for name, digest in files.items():
        if sha256(folder / name) != digest:
            return f"{name} does not match its checksum"
    return None
