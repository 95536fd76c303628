"""``model.bin`` of CTranslate2 -> arrays in float32. Knows the file's format, and no network.

Format (CTranslate2's ``ModelSpec``, binary version 6): version, name, revision; count of variables, and of each its
name, shape, type and bytes; count of aliases, and of each its name and the variable's. Beside a quantized variable
there is one of scales: numbers / scales = values.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.export import ExportError

Floats = NDArray[np.float32]

_VERSION = 6
_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "bfloat16")
_SCALE = "_scale"


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a variable is."""

    shape: tuple[int, ...]
    kind: int
    first: int
    size: int

    def read(self, file: BinaryIO) -> Floats:
        file.seek(self.first)
        data, kind = file.read(self.size), _TYPES[self.kind]
        if kind == "bfloat16":  # the upper half of a float32
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
        return np.frombuffer(data, kind).astype(np.float32).reshape(self.shape)


def read_variables(file: Path, part: str) -> dict[str, Floats]:
    """Those whose name begins with ``part/``, without it.

    Raises:
        ExportError: the file is damaged, or of another version.
    """
    prefix = f"{part}/"
    try:
        with file.open("rb") as opened:
            found = {
                name.removeprefix(prefix): stored.read(opened)
                for name, stored in _contents(opened).items()
                if name.startswith(prefix)
            }
            return {name: _values(values, found.get(f"{name}{_SCALE}")) for name, values in found.items()}
    except (struct.error, UnicodeDecodeError, ValueError, LookupError) as error:
        raise ExportError(f"{file} is no model of CTranslate2's: {error}") from error


def _contents(file: BinaryIO) -> dict[str, _Stored]:
    """All variables, aliases among them."""
    (version,) = _unpacked(file, "I")
    if version != _VERSION:
        raise ValueError(f"its version is {version}, not {_VERSION}; convert it again with a newer CTranslate2")
    _text(file)
    _, count = _unpacked(file, "II")
    found = dict(_entry(file) for _ in range(count))
    (aliases,) = _unpacked(file, "I")
    for _ in range(aliases):
        alias, name = _text(file), _text(file)
        found[alias] = found[name]
    return found


def _entry(file: BinaryIO) -> tuple[str, _Stored]:
    name, (rank,) = _text(file), _unpacked(file, "B")
    shape = _unpacked(file, f"{rank}I")
    kind, size = _unpacked(file, "BI")
    stored = _Stored(shape, kind, file.tell(), size)
    if file.seek(size, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
        raise ValueError(f"it ends within {name}")
    return name, stored


def _unpacked(file: BinaryIO, form: str) -> tuple[int, ...]:
    form = f"<{form}"
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: BinaryIO) -> str:
    (size,) = _unpacked(file, "H")
    return file.read(size).rstrip(b"\0").decode()


def _values(numbers: Floats, scales: Floats | None) -> Floats:
    """Of rows that have a scale each, or one for all."""
    return numbers if scales is None else numbers / scales.reshape(-1, *[1] * (numbers.ndim - 1))
