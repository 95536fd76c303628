"""Weight files of a checkpoint -> the artefact's: linked where they are stored as wanted, else cast a tensor at a time.

A checkpoint may be larger than the memory of the machine that builds it.
"""

import json
import os
import shutil
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open

from models.export import ExportError
from models.export.causal_lm.checkpoint import INDEX, Checkpoint

NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}
"""What safetensors calls the types weights are stored in."""

_FLOATS = {"F64", "F32", "F16", "BF16"}


def write_weights(checkpoint: Checkpoint, target: Path, dtype: str) -> None:
    """The files by their own names.

    Raises:
        ExportError: something in them is no floating point number: they are quantized.
    """
    wanted: torch.dtype = getattr(torch, dtype)
    for name in checkpoint.files:
        if _is_stored_in(checkpoint.folder / name, wanted):
            link(checkpoint.folder / name, target / name)
        else:
            cast(checkpoint.folder / name, target / name, wanted)
    if (checkpoint.folder / INDEX).is_file():
        shutil.copyfile(checkpoint.folder / INDEX, target / INDEX)


def write_config(checkpoint: Checkpoint, target: Path, dtype: str) -> None:
    """``config.json``, saying what the weights are stored in."""
    config = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in ("torch_dtype", "auto_map", "_name_or_path")}
    (target / "config.json").write_text(json.dumps(kept | {"dtype": dtype}, indent=2), encoding="utf-8")


def link(file: Path, target: Path) -> None:
    """The same file under another name where the file system can do that, else a copy."""
    try:
        os.link(file.resolve(), target)  # hub snapshots are symbolic links
    except OSError:
        shutil.copyfile(file, target)


def _is_stored_in(file: Path, wanted: torch.dtype) -> bool:
    """Whether all of a file is."""
    with safe_open(file, framework="pt") as weights:
        stored = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118  # not a mapping
    if strange := stored - _FLOATS:
        raise ExportError(f"{file}: weights stored in {', '.join(sorted(strange))} cannot be cast to {NAMES[wanted]}")
    return stored == {NAMES[wanted]}


def cast(file: Path, target: Path, wanted: torch.dtype) -> None:
    """Write the tensors of a file anew, floating point ones as ``wanted``; holds one of them at a time.

    The format: the length of a JSON header, the header (name -> type, shape, place), the tensors.
    """
    with safe_open(file, framework="pt") as weights, target.open("wb") as out:
        names = sorted(weights.keys())
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        place = 0
        for name in names:
            stored = weights.get_slice(name)
            end = place + prod(stored.get_shape()) * wanted.itemsize
            header[name] = {"dtype": NAMES[wanted], "shape": stored.get_shape(), "data_offsets": [place, end]}
            place = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # so that tensors are aligned
        out.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            out.write(weights.get_tensor(name).to(wanted).contiguous().view(-1).view(torch.uint8).numpy().tobytes())
