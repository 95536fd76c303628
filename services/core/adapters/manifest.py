"""What is kept beside an adapter's files: their digests, and what the check found."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from services.core.adapters.checks import Checked
from services.core.adapters.intake import FILES
from services.core.adapters.record import Adapter

_MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """One version of an adapter; written once, never changed."""

    model_config = ConfigDict(frozen=True)

    digest: str
    files: dict[str, str]
    rank: int
    targets: tuple[str, ...]
    declared: str


def write_manifest(folder: Path, checked: Checked) -> Manifest:
    """Seal the files of a folder."""
    files = _digests(folder)
    manifest = Manifest(
        digest=_together(files),
        files=files,
        rank=checked.rank,
        targets=checked.targets,
        declared=checked.declared,
    )
    with (folder / _MANIFEST).open("x", encoding="utf-8") as writing:
        writing.write(manifest.model_dump_json(indent=2))
        writing.flush()
        os.fsync(writing.fileno())
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """What was sealed here; None if nothing sound was."""
    try:
        return Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def damage(adapter: Adapter) -> str | None:
    """How an adapter's files differ from those that were checked, or None; reads them whole, so ask when loading."""
    try:
        same = _together(_digests(adapter.folder)) == adapter.digest
    except OSError as error:
        return f"{adapter.id} cannot be read: {error.strerror}"
    return None if same else f"{adapter.id} does not match its checksum"


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for name in FILES:
        with (folder / name).open("rb") as opened:
            found[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _together(files: Mapping[str, str]) -> str:
    """As ``sha256sum adapter_config.json adapter_model.safetensors | sha256sum`` has it."""
    return hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in FILES).encode()).hexdigest()
