"""What was found of a base's adapters before, for as long as it holds.

Each base has a mark: a small file with a random number, taken away before anything changes and written anew after. What
was read under a mark holds while the mark is the same, in every process, and nobody must be told. Times and inodes
would not do instead: both may come again within a tick of the file system's clock. Where there is no mark, since
something changes or whoever changed it was killed, nothing is kept.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.core.adapters.record import Adapter

_MARK = ".mark"
_BYTES = 16

Found = dict[tuple[str, str | None], Adapter]
"""By name and the version asked for."""


class Memory:
    """What was found of the adapters below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._kept: dict[str, tuple[bytes, Found]] = {}

    def of(self, base: str) -> Found:
        """What holds now; to be added to by whoever looks for more."""
        mark = _read(f"{self._root}/{base}/{_MARK}")
        kept = self._kept.get(base)
        if mark is not None and kept and kept[0] == mark:
            return kept[1]
        found: Found = {}
        if mark is not None:
            self._kept[base] = mark, found
        return found


@contextmanager
def forgotten(base: Path) -> Iterator[None]:
    """Have everybody forget what was found in this folder: it changes meanwhile. Nobody else may be changing it."""
    mark = base / _MARK
    mark.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # without a mark nothing is kept, which is slower, not wrong
            fresh = base / f"{_MARK}.new"
            fresh.write_bytes(secrets.token_bytes(_BYTES))
            fresh.replace(mark)


def _read(mark: str) -> bytes | None:
    try:
        opened = os.open(mark, os.O_RDONLY)
    except OSError:  # whoever reads on is told what is wrong
        return None
    try:
        return os.read(opened, _BYTES) or None
    finally:
        os.close(opened)
