"""Which tensors a safetensors file holds, and whether their values are numbers. No tensor is made.

The library safetensors itself says whether a file is sound: size of the header, offsets in bounds, no holes and no
overlaps. What it found sound is then read once more for what it does not tell, places and types.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

_LONGEST = 1 << 24
"""Largest header, in bytes: a mixture of hundreds of experts needs half of it, an adapter a hundredth."""

_STEP = 1 << 22
"""Values looked at together: memory stays small however large a tensor is."""

_EXPONENTS = {"F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80)}
"""Of each type, the bits that are all set in infinities and NaN, and in no other value."""

FLOATS = tuple(_EXPONENTS)


class Tensor(NamedTuple):
    """Where a tensor is and what it is; ``start`` in bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        ValueError: it is not a sound safetensors file.
        OSError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > _LONGEST:
                raise ValueError(f"its header is to have {length} bytes")
            with safe_open(file, framework="np"):
                header = json.loads(opened.read(length), object_pairs_hook=_without_twins)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    header.pop("__metadata__", None)
    return {
        name: Tensor(entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def is_finite(file: Path, tensor: Tensor) -> bool:
    """Whether all values are numbers, for a tensor that is not empty and of one of `FLOATS`."""
    kind, exponent = _EXPONENTS[tensor.dtype]
    values = np.memmap(file, kind, "r", tensor.start, int(np.prod(tensor.shape)))
    parts = (values[start : start + _STEP] for start in range(0, len(values), _STEP))
    return not any(((part & exponent) == exponent).any() for part in parts)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found
