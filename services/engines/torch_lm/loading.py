"""A model from its artefact, in the precision asked for."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from services.core.catalog import Precision
from services.engines.torch_lm.attention import NAME

_DTYPES = {Precision.FP32: torch.float32}


def load_model(artefact: Path, precision: Precision, device: torch.device) -> torch.nn.Module:
    """Read ``config.json`` and safetensors; int8 and nf4 are made while reading, by bitsandbytes.

    Only safetensors, only code that transformers itself has, and nothing from any hub.
    """
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        artefact,
        dtype=_DTYPES.get(precision, torch.bfloat16),
        attn_implementation=NAME,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        quantization_config=_quantization(precision),
        device_map={"": device},
    )
    return model.eval().requires_grad_(False)  # noqa: FBT003


def _quantization(precision: Precision) -> Any | None:
    if precision == Precision.NF4:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if precision == Precision.INT8 else None
