"""Files taken from a folder that is not trusted: two plain files of bounded size, and nothing else that lies there."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from services.core.adapters.checks import WEIGHTS
from services.core.adapters.config import CONFIG
from services.core.errors import Code, ServingError

FILES = (CONFIG, WEIGHTS)
MAX_BYTES = 2 << 30
_MAX_CONFIG = 1 << 20
_CHUNK = 1 << 20
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def within(path: str, roots: Sequence[Path]) -> Path:
    """The folder a request names, with links followed, if it lies below one of the roots.

    Raises:
        ServingError: PERMISSION_DENIED; whether something is there is told only of what lies below a root.
    """
    refuse_without(roots)
    folder = _resolved(path)
    if folder is None or not any(folder.is_relative_to(root.resolve()) for root in roots):
        raise ServingError(
            Code.PERMISSION_DENIED, "path: give an absolute path below one of CHORALE_ADAPTER_ROOTS.", "path"
        )
    if not _is_folder(folder):
        raise ServingError(Code.NOT_FOUND, "path: there is no such folder; give that of a PEFT adapter.", "path")
    return folder


def refuse_without(roots: Sequence[Path]) -> None:
    """Requests change adapters only where the operator has said from where they may come.

    Raises:
        ServingError: PERMISSION_DENIED.
    """
    if not roots:
        raise ServingError(
            Code.PERMISSION_DENIED,
            "Changing adapters by request is off; set CHORALE_ADAPTER_ROOTS to the folders they may come from, or use"
            " `chorale adapters`.",
        )


def _resolved(path: str) -> Path | None:
    try:
        return Path(path).resolve() if Path(path).is_absolute() else None
    except (OSError, RuntimeError, ValueError):  # loops of links, null characters
        return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # names past what there can be, no permission
        return False


def take(source: Path, target: Path, max_bytes: int) -> None:
    """Copy the files of an adapter, and have them on the disk.

    Raises:
        ServingError: INVALID_ARGUMENT; they are not plain files of that size together.
        OSError: they cannot be written.
    """
    left = max_bytes
    for name, limit in zip(FILES, (_MAX_CONFIG, max_bytes), strict=True):
        with os.fdopen(_open(source, name), "rb") as reading, (target / name).open("xb") as writing:
            left -= _copy(reading, writing, min(left, limit))
            writing.flush()
            os.fsync(writing.fileno())


def _open(source: Path, name: str) -> int:
    try:
        # Not to wait for a writer, should it be a pipe.
        opened = os.open(source / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(_why(source, name, error)) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise _refused(f"{name} is not a plain file; give a folder that PEFT saved")
    return opened


def _why(source: Path, name: str, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{name} is a symbolic link; copy the files themselves (cp -L)"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"{name} cannot be read ({error.strerror}); check its permissions"
    if name == WEIGHTS and any(path.suffix in _PICKLES for path in source.iterdir()):
        return f"There are only pickled weights, which are never loaded; save the adapter as {WEIGHTS}"
    return f"There is no {name}; give a folder that PEFT saved"


def _copy(reading: BinaryIO, writing: BinaryIO, limit: int) -> int:
    copied = 0
    while chunk := reading.read(_CHUNK):
        copied += len(chunk)
        if copied > limit:
            raise _refused(f"It is larger than {limit} bytes, the most there is room for; train it at a lower rank")
        writing.write(chunk)
    return copied


def _refused(sentence: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{sentence}.", "path")
