"""Source URIs -> folders on this machine, checked against their digests.

Knows where files come from (repository, installed package, path, model hub). Does not know what is in them.
"""

import hashlib
import importlib.metadata
from pathlib import Path

from services.core.catalog import Source
from services.core.errors import OperatorError

WEIGHTS = Path(__file__).parent / "weights"
RECIPES = Path(__file__).parent / "recipes"


class SourceError(OperatorError):
    """A source that is missing or not what the catalog says it is; the message says what to do."""


def fetch(source: Source) -> Path:
    """The folder of a source.

    Raises:
        SourceError: it is not there, or a file's digest differs from the catalog's.
    """
    scheme, _, rest = source.uri.partition(":")
    folder = {"bundled": _bundled, "pypi": _package, "path": _path, "hub": _hub}[scheme](rest)
    if not folder.is_dir():
        raise SourceError(f"{source.uri}: no folder {folder}")
    for name, expected in source.sha256.items():
        if not (folder / name).is_file():
            raise SourceError(f"{source.uri}: {name} is missing from {folder}")
        if (found := sha256(folder / name)) != expected:
            raise SourceError(
                f"{source.uri}: {name} has sha256 {found[:12]}…, the catalog says {expected[:12]}…;"
                " fetch the file again, or correct the catalog if the change is meant"
            )
    return folder


def fingerprint(source: Source) -> dict[str, str]:
    """What tells that files of a source changed: digests of bundled ones, size and time of those at a path.

    Packages and hub revisions are pinned; the digests the catalog sets are checked by `fetch`.
    """
    scheme, _, rest = source.uri.partition(":")
    if scheme == "bundled":
        return {path.name: sha256(path) for path in sorted(_bundled(rest).glob("*")) if path.is_file()}
    if scheme == "path":
        stats = [(path.name, path.stat()) for path in sorted(_path(rest).glob("*")) if path.is_file()]
        return {name: f"{stat.st_size} {stat.st_mtime_ns}" for name, stat in stats}
    return {}


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bundled(rest: str) -> Path:
    return WEIGHTS / rest


def _path(rest: str) -> Path:
    return Path(rest).expanduser()


def _package(rest: str) -> Path:
    """``<package>/<path>``, found without importing the package (which may pull in a framework)."""
    name, _, inside = rest.partition("/")
    try:
        return Path(str(importlib.metadata.distribution(name).locate_file(inside)))
    except importlib.metadata.PackageNotFoundError:
        raise SourceError(f"pypi:{rest}: package {name} is not installed; run: pip install {name}") from None


def _hub(rest: str) -> Path:
    """``<id>@<revision>``. The revision is required: a branch that moves is not a version."""
    name, _, revision = rest.partition("@")
    if not revision:
        raise SourceError(f"hub:{rest}: name a revision, hub:{name}@<commit>")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"]  # never pickles or code
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise SourceError(f"hub:{rest}: cannot be fetched: {error}") from error
