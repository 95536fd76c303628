"""The adapter library: adapters below ``CHORALE_HOME``, added and removed while any number of processes read.

    <home>/adapters/<base name@version>/<name>/<version>/   config, weights, manifest.json; never changed
    <home>/adapters/<base name@version>/<name>/.current     the version that the bare name means
    <home>/adapters/<base name@version>/.mark               never the same again once any of them has changed

What was read is kept for as long as its mark says that nothing has changed (`memory`), so no process must be told. What
is taken away by hand, past the library, is noticed when it is loaded.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from services.core.adapters import names
from services.core.adapters.checks import Checked
from services.core.adapters.intake import MAX_BYTES, take
from services.core.adapters.manifest import write_manifest
from services.core.adapters.memory import Memory, forgotten
from services.core.adapters.record import Adapter
from services.core.adapters.shelf import Shelf, folders
from services.core.errors import Code, ServingError

Check = Callable[[Path], Checked]
"""Looks through the files in a folder, and refuses what does not fit."""

_ADDING = ".adding"
_REMOVED = ".removed"
_LOCK_SECONDS = 60.0
_TRIES = 3
_NAMES_TOLD = 20


class Added(NamedTuple):
    """What adding came to."""

    adapter: Adapter
    already: bool


class AdapterLibrary:
    """Adapters below one folder.

    Args:
        home: ``CHORALE_HOME``.
        roots: folders that requests may load adapters from (see `intake.within`).
        max_bytes: largest adapter.
    """

    def __init__(self, home: Path, roots: tuple[Path, ...] = (), max_bytes: int = MAX_BYTES) -> None:
        self._root = home / "adapters"
        self.roots = roots
        self._max_bytes = max_bytes
        self._memory = Memory(self._root)

    def asked(self, base: str, model: str | None) -> Adapter | None:
        """The adapter in a request's model id, on the base that the rest of it means; None if it has none."""
        adapter = names.asked(model)
        return self.find(base, *adapter) if adapter else None

    def find(self, base: str, name: str, version: str | None = None) -> Adapter:
        """The adapter of this name; without a version, the one that the name means now.

        Raises:
            ServingError: NOT_FOUND, naming those there are.
        """
        found = self._memory.of(names.checked_base(base))  # taken before anything is read: nothing older is kept in it
        adapter = found.get((name, version))
        if adapter is None:
            adapter = found[name, version] = self._read(base, name, version)
        return adapter

    def current(self, base: str, name: str) -> str | None:
        """The version that the bare name means."""
        return self._shelf(base, name).current

    def versions(self, base: str, name: str, version: str | None = None) -> tuple[Adapter, ...]:
        """What `remove` would take away."""
        return tuple(one for one in self._shelf(base, name).adapters if version in (None, one.version))

    def list(self, base: str | None = None) -> tuple[Adapter, ...]:
        """All versions of all adapters, of one base or of all."""
        bases = folders(self._root) if base is None else [self._root / names.checked_base(base)]
        return tuple(adapter for one in bases for place in folders(one) for adapter in Shelf(place).adapters)

    def add(
        self, base: str, name: str, source: Path, version: str | None, check: Check, *, replace: bool = False
    ) -> Added:
        """Take in the adapter in a folder; from then on the bare name means it.

        Args:
            base: id of the model it is for.
            name: what requests call it.
            source: the folder; only config and weights are taken from it.
            version: None is the one these files have already, or the next number.
            check: whether they fit the base; looks at the copies.
            replace: the name may mean something else so far.

        Raises:
            ServingError: INVALID_ARGUMENT; CONFLICT, as the name or version has other files; UNAVAILABLE, as the
                library cannot be written. The name means then what it did.
        """
        shelf, wanted = self._shelf(base, name), names.optional("version", version)
        with _changing(shelf.place.parent) as folder:
            fresh = folder / _ADDING  # ours alone: the lock is held
            try:
                fresh.mkdir()
                take(source, fresh, self._max_bytes)
                manifest = write_manifest(fresh, check(fresh))
                return Added(*shelf.publish(fresh, manifest, wanted, replace=replace))
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    def remove(self, base: str, name: str, version: str | None = None) -> None:
        """Take a version away, or the whole name. If the version is what the name means, it means nothing then.

        Raises:
            ServingError: NOT_FOUND, naming those there are; UNAVAILABLE, as the library cannot be written.
        """
        shelf, wanted = self._shelf(base, name), names.optional("version", version)
        leaving = shelf.place / wanted if wanted else shelf.place
        if not leaving.is_dir():
            raise _unknown(shelf, wanted)
        with _changing(shelf.place.parent) as folder:
            if not leaving.is_dir():  # another process was faster
                raise _unknown(shelf, wanted)
            if wanted and wanted == shelf.current:
                shelf.forget()
            leaving.rename(folder / _REMOVED)
            shutil.rmtree(folder / _REMOVED)
            if not folders(shelf.place):
                shutil.rmtree(shelf.place, ignore_errors=True)

    def _read(self, base: str, name: str, version: str | None) -> Adapter:
        shelf, wanted = self._shelf(base, name), names.optional("version", version)
        for _ in range(_TRIES):  # what the name means may be removed between the two looks
            chosen = wanted or shelf.current
            if chosen and (adapter := shelf.get(chosen)):
                return adapter
        raise _unknown(shelf, wanted)

    def _shelf(self, base: str, name: str) -> Shelf:
        return Shelf(self._root / names.checked_base(base) / names.checked("name", name))


@contextmanager
def _changing(base: Path) -> Iterator[Path]:
    """Nobody else changes the adapters of this base meanwhile; what a process that was killed left is gone."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        with FileLock(base / ".lock", timeout=_LOCK_SECONDS), forgotten(base):
            for left in (_ADDING, _REMOVED):
                shutil.rmtree(base / left, ignore_errors=True)
            yield base
    except Timeout as error:
        raise ServingError(
            Code.UNAVAILABLE, "Another process changes the adapters of this model; retry.", retry_after=5.0
        ) from error
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"The adapter library cannot be written ({error.strerror}); free space in CHORALE_HOME."
        ) from error


def _unknown(shelf: Shelf, version: str | None) -> ServingError:
    base, name, versions = shelf.place.parent.name, shelf.place.name, shelf.versions
    if versions and version is None:
        sentence = f"Adapter {name!r} of {base} has no current version; name one of: {_told(versions)}."
    elif versions:
        sentence = f"Adapter {name!r} of {base} has no version {version!r}; it has: {_told(versions)}."
    else:
        there = (folder.name for folder in folders(shelf.place.parent) if folders(folder))
        sentence = f"No adapter {name!r} for {base}; use one of: {_told(there) or 'none'}."
    return ServingError(Code.NOT_FOUND, sentence, "model")


def _told(found: Iterable[str]) -> str:
    shown = [*islice(found, _NAMES_TOLD + 1)]
    return ", ".join(shown[:_NAMES_TOLD]) + (", ..." if len(shown) > _NAMES_TOLD else "")
