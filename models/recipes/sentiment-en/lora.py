"""Owns the adapter: from full weight changes to LoRA factors, and to files."""

import json
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertModel

from models.architectures import EncoderClassifier

TRUNK_NAME = "sentence-transformers/all-MiniLM-L6-v2"


def linear_changes(model: EncoderClassifier, tuned: dict[str, Tensor]) -> dict[str, Tensor]:
    """How far each linear layer of the trunk moved, by layer name."""
    return {
        name: tuned[f"trunk.{name}.weight"] - layer.weight.detach()
        for name, layer in model.trunk.named_modules()
        if isinstance(layer, nn.Linear)
    }


def add_lora(model: EncoderClassifier, changes: dict[str, Tensor], rank: int) -> None:
    """Wrap the trunk in LoRA that starts as the best rank-`rank` form of `changes`."""
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["query", "key", "value", "dense"])
    trunk = model.trunk
    model.trunk = cast("BertModel", get_peft_model(trunk, config))  # changes `trunk` in place
    for name, layer in trunk.named_modules():
        if isinstance(layer, LoraLayer):
            u, s, v = torch.linalg.svd(changes[name], full_matrices=False)
            root = s[:rank].sqrt()
            down, up = layer.lora_A["default"], layer.lora_B["default"]
            down.load_state_dict({"weight": root[:, None] * v[:rank]})
            up.load_state_dict({"weight": u[:, :rank] * root})


def merged(model: EncoderClassifier) -> BertModel:
    """The trunk with its adapter folded in."""
    return cast("BertModel", cast("PeftModel", model.trunk).merge_and_unload())


def save_student(model: EncoderClassifier, temperature: float, out: Path) -> None:
    """Write adapter and head; half precision halves the size at no measured loss."""
    cast("PeftModel", model.trunk).save_pretrained(str(out))
    (out / "README.md").unlink(missing_ok=True)  # peft's stub; the card lies by the recipe
    adapter = load_file(out / "adapter_model.safetensors")
    save_file({n: t.half() for n, t in adapter.items()}, out / "adapter_model.safetensors")
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = TRUNK_NAME  # peft wrote a local folder
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    head = {
        "weight": model.head.weight.detach().clone(),
        "bias": model.head.bias.detach().clone(),
        "temperature": torch.tensor([temperature]),
    }
    save_file(head, out / "head.safetensors")
