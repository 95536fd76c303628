"""Opens a folder as a causal language model, without its weights: what it is, and whether its parts fit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedConfig

from models.export import ExportError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a causal language model.

    Args:
        folder: where.
        config: what its ``config.json`` says, as transformers understands it.
        files: names of its weight files.
        parameters: of the network, shared ones once.
    """

    folder: Path
    config: PreTrainedConfig
    files: tuple[str, ...]
    parameters: int

    @property
    def family(self) -> str:
        """``llama``, ``qwen3``, …"""
        return str(self.config.model_type)

    @property
    def positions(self) -> int | None:
        """Most tokens the network has places for; None where it has no such limit."""
        found: int | None = getattr(self.config, "max_position_embeddings", None)
        return found


def opened(folder: Path) -> Checkpoint:
    """Look at a checkpoint folder. Reads names and shapes of its weights, not the weights.

    Raises:
        ExportError: it is no causal language model that transformers knows, or its weights are not those of its config.
    """
    files = _weight_files(folder)
    if "quantization_config" in _described(folder):
        raise ExportError(f"{folder}: its weights are quantized already; give the checkpoint they were made from")
    network = _network(folder)
    config = network.config
    if type(network).__name__ not in (config.architectures or ()):
        raise ExportError(f"{folder}: config.json describes {config.architectures}, which is no causal language model")
    return Checkpoint(folder, config, files, sum(weight.numel() for weight in network.parameters()))


def _weight_files(folder: Path) -> tuple[str, ...]:
    index = folder / INDEX
    if index.is_file():
        return _shards(index)
    if (folder / SINGLE).is_file():
        return (SINGLE,)
    if any(found for pattern in _PICKLES for found in folder.glob(pattern)):
        raise ExportError(
            f"{folder}: its weights are pickled, and opening them would run whatever code is in them;"
            " give a revision with safetensors"
        )
    raise ExportError(f"{folder}: there is neither {SINGLE} nor {INDEX}")


def _shards(index: Path) -> tuple[str, ...]:
    try:
        names = set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{index} is not the index of a checkpoint: {error}") from error
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors") or not (index.parent / name).is_file():
            raise ExportError(f"{index}: {name!r} is no safetensors file beside it")
    return tuple(sorted(names))


def _described(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = PreTrainedConfig.get_config_dict(folder, local_files_only=True)[0]
    except OSError as error:
        raise ExportError(f"{folder}: there is no config.json that can be read: {error}") from error
    return found


def _network(folder: Path) -> Any:
    """The network on no device, its weights compared with the files'."""
    try:
        network, found = AutoModelForCausalLM.from_pretrained(
            folder,
            device_map="meta",
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ExportError(f"{folder} cannot be opened as a causal language model: {error}") from error
    if lacking := found["missing_keys"] | found["mismatched_keys"]:
        raise ExportError(f"{folder}: the weights lack {_some(lacking)}, which config.json describes")
    if needless := found["unexpected_keys"]:
        raise ExportError(f"{folder}: the weights hold {_some(needless)}, which config.json does not describe")
    return network


def _some(names: set[str]) -> str:
    shown = sorted(map(str, names))[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
