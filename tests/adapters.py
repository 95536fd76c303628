"""A base of a few matrices and adapters for it, written in a moment without torch."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from services.core.adapters import Check, check_adapter

BASE = "tiny@1"
SHAPES = {
    f"model.layers.{layer}.{module}": shape
    for layer in (0, 1)
    for module, shape in (("self_attn.q_proj", (16, 16)), ("mlp.up_proj", (32, 16)))
}
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "bias": "none",
    "target_modules": ["q_proj", "up_proj"],
    "base_model_name_or_path": "someone/tiny",
}
CHECK: Check = partial(check_adapter, base=BASE, shapes=SHAPES, max_rank=8)


def key(module: str, side: str) -> str:
    return f"base_model.model.{module}.lora_{side}.weight"


def tensors(seed: int = 0, rank: int = 4) -> dict[str, np.ndarray]:
    """Both matrices of every module."""
    random = np.random.default_rng(seed)
    made = {}
    for module, (outputs, inputs) in SHAPES.items():
        made[key(module, "A")] = random.normal(size=(rank, inputs)).astype(np.float32)
        made[key(module, "B")] = random.normal(size=(outputs, rank)).astype(np.float32)
    return made


def write_adapter(folder: Path, seed: int = 0, weights: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    chosen = tensors(seed, config.get("r", 4)) if weights is None else weights
    save_file(chosen, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def write_base(folder: Path) -> Path:
    """Its artefact, as far as adapters are concerned."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{module}.weight": np.zeros(shape, np.float32) for module, shape in SHAPES.items()}
    others = {"model.embed_tokens.weight": np.zeros((64, 16), np.float32), "model.norm.weight": np.ones(16, np.float32)}
    save_file({**weights, **others}, folder / "model.safetensors")
    return folder
