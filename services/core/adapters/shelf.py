"""One name's folder on disk: its versions, and which of them the bare name means.

A version is published by renaming a finished folder, a meaning changed by replacing a small file: a reader meets the
old or the new. Writers exclude each other before they come here.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from services.core.adapters import names
from services.core.adapters.manifest import Manifest, read_manifest
from services.core.adapters.record import Adapter
from services.core.errors import Code, ServingError

_CURRENT = ".current"


class Shelf:
    """The versions of one adapter name; ``place`` need not exist."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def current(self) -> str | None:
        """The version that the bare name means."""
        try:
            return (self.place / _CURRENT).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def versions(self) -> dict[str, Manifest]:
        """The sound ones, numbers last and in order."""
        found = {folder.name: manifest for folder in folders(self.place) if (manifest := read_manifest(folder))}
        return dict(sorted(found.items(), key=lambda pair: _number(pair[0])))

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The same as adapters."""
        return tuple(self._adapter(version, manifest) for version, manifest in self.versions.items())

    def get(self, version: str) -> Adapter | None:
        """One version."""
        manifest = read_manifest(self.place / version)
        return self._adapter(version, manifest) if manifest else None

    def publish(self, fresh: Path, manifest: Manifest, version: str | None, *, replace: bool) -> tuple[Adapter, bool]:
        """Have the name mean the adapter in ``fresh``; says whether it was there already.

        Raises:
            ServingError: CONFLICT; the version has other files, or the name has and may not be replaced.
        """
        there, current = self.versions, self.current
        chosen = version or names.checked("version", _version_of(manifest, there, current))
        if chosen in there and there[chosen].digest != manifest.digest:
            raise ServingError(
                Code.CONFLICT, f"Version {chosen} of {self.place.name!r} has other files; choose another.", "version"
            )
        if current not in (None, chosen) and not replace:
            raise ServingError(
                Code.CONFLICT,
                f"{self.place.name!r} has other files, as version {current}; unload it, or ask to replace it.",
                "name",
            )
        if chosen not in there:
            self._settle(fresh, chosen)
        if chosen != current:
            self._point(chosen)
        return self._adapter(chosen, manifest), chosen in there

    def forget(self) -> None:
        """Have the bare name mean nothing."""
        (self.place / _CURRENT).unlink()

    def _settle(self, fresh: Path, version: str) -> None:
        self.place.mkdir(exist_ok=True)
        shutil.rmtree(self.place / version, ignore_errors=True)  # it has no sound manifest, so nobody reads it
        fresh.rename(self.place / version)
        _sync(self.place)

    def _point(self, version: str) -> None:
        fresh = self.place / f"{_CURRENT}.new"
        with fresh.open("w", encoding="utf-8") as writing:
            writing.write(version)
            writing.flush()
            os.fsync(writing.fileno())
        fresh.replace(self.place / _CURRENT)
        _sync(self.place)

    def _adapter(self, version: str, manifest: Manifest) -> Adapter:
        return Adapter(
            base=self.place.parent.name,
            name=self.place.name,
            version=version,
            digest=manifest.digest,
            folder=self.place / version,
            rank=manifest.rank,
        )


def folders(folder: Path) -> list[Path]:
    """What lies in a folder, if it exists; names with a dot in front are the library's own."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _version_of(manifest: Manifest, there: Mapping[str, Manifest], current: str | None) -> str:
    """What has these files, the current one first; or the next number."""
    twins = [version for version, other in there.items() if other.digest == manifest.digest]
    if twins:
        return current if current in twins else twins[-1]
    return str(1 + max(map(_number, there), default=0))


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _sync(folder: Path) -> None:
    """Have renames in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
