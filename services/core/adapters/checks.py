"""Whether an adapter fits its base: told from its tensors' names and shapes, not from what its config claims."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.core.adapters.config import read_config
from services.core.adapters.header import FLOATS, Tensor, is_finite, read_header
from services.core.errors import Code, OperatorError, ServingError

WEIGHTS = "adapter_model.safetensors"
MAX_RANK = 64

BaseShapes = Mapping[str, tuple[int, int]]
"""Linear modules of a base model by path (``model.layers.0.mlp.up_proj``): outputs, inputs."""

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_NOT_LINEAR = ("embed_tokens", "wte", "wpe")
_INDEX = "model.safetensors.index.json"
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Args:
        rank: of the matrices.
        targets: the modules it changes, by the last part of their paths.
        declared: the base its config names; shown, never trusted.
    """

    rank: int
    targets: tuple[str, ...]
    declared: str


def linear_shapes(artefact: Path) -> BaseShapes:
    """The linear modules of a model, from the headers of its safetensors files.

    Raises:
        OperatorError: the folder holds no sound model.
    """
    try:
        index = artefact / _INDEX
        names = set(json.loads(index.read_bytes())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
        headers = [read_header(artefact / name) for name in sorted(names)]
    except (OSError, ValueError, KeyError) as error:
        raise OperatorError(f"{artefact}: no sound model.safetensors to check adapters by: {error}") from error
    tensors = [(name.removesuffix(".weight"), tensor.shape) for header in headers for name, tensor in header.items()]
    return {
        name: (shape[0], shape[1])
        for name, shape in tensors
        if len(shape) == 2 and name.rpartition(".")[2] not in _NOT_LINEAR
    }


def check_adapter(folder: Path, base: str, shapes: BaseShapes, max_rank: int = MAX_RANK) -> Checked:
    """Look through the adapter in this folder.

    Args:
        folder: holds config and weights.
        base: id of the model it is for, as errors name it.
        shapes: of that model.
        max_rank: the largest rank it may have.

    Raises:
        ServingError: INVALID_ARGUMENT, with what is wrong.
    """
    config = read_config(folder)
    if config.r > max_rank:
        raise _refused(f"Its rank is {config.r}; {base} takes adapters of rank {max_rank} at most")
    file = folder / WEIGHTS
    try:
        tensors = read_header(file)
    except (OSError, ValueError) as error:
        raise _refused(f"{WEIGHTS} is damaged ({str(error)[:_LONGEST]}); copy it again") from error
    modules = _modules(tensors)
    for module in modules:
        _check_module(module, config.r, tensors, base, shapes)
    for name, tensor in tensors.items():
        if not is_finite(file, tensor):
            raise _refused(f"{_short(name)} has values that are not finite; train it again")
    return Checked(config.r, _targets(modules), config.base_model_name_or_path or "")


def _modules(tensors: Mapping[str, Tensor]) -> list[str]:
    """The modules that tensors are for, each with both of its matrices."""
    sides: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        key = _KEY.fullmatch(name)
        if key is None:
            raise _refused(f"{_short(name)} is not a LoRA matrix of a linear module; save it with PEFT, without extras")
        if tensor.dtype not in FLOATS:
            raise _refused(f"{_short(name)} is {tensor.dtype}; save it as one of {', '.join(FLOATS)}")
        sides.setdefault(key["module"], set()).add(key["side"])
    if not sides:
        raise _refused(f"{WEIGHTS} holds no tensors; save the adapter after training")
    for module, found in sides.items():
        if missing := {"A", "B"} - found:
            raise _refused(f"{_short(module)} has no lora_{missing.pop()}; save the whole adapter")
    return sorted(sides)


def _check_module(module: str, rank: int, tensors: Mapping[str, Tensor], base: str, shapes: BaseShapes) -> None:
    if module not in shapes:
        raise _refused(f"{base} has no linear module {_short(module)}; the adapter is for another base")
    outputs, inputs = shapes[module]
    for side, wanted in (("A", (rank, inputs)), ("B", (outputs, rank))):
        found = tensors[f"base_model.model.{module}.lora_{side}.weight"].shape
        if found != wanted:
            raise _refused(
                f"lora_{side} of {_short(module)} has shape {list(found)[:4]}, where {base} at rank {rank} takes "
                f"{list(wanted)}; the adapter is for another base, or its config is another's"
            )


def _targets(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({module.rpartition(".")[2] for module in modules}))


def _short(name: str) -> str:
    return repr(name[:_LONGEST])


def _refused(sentence: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{sentence}.", "path")
