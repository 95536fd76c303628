"""A model from its artefact, in the precision asked for."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from services.core.catalog import Precision
from services.engines.torch_lm.attention import NAME
from services.engines.torch_lm.packing import pack_linears

_PACKED = (32, 64)
"""Rows and columns at a time in bitsandbytes' kernel for 4 bits on AVX512-BF16 (0.50.2)."""

_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}


def load_model(artefact: Path, precision: Precision, device: torch.device) -> PreTrainedModel:
    """Read ``config.json`` and safetensors; int8 and nf4 are made while reading, by bitsandbytes.

    Only safetensors, only code that transformers itself has, and nothing from any hub.
    """
    disable_progress_bar()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        artefact,
        dtype=_DTYPES.get(precision, torch.bfloat16),
        attn_implementation=NAME,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        quantization_config=_quantization(precision),
        device_map={"": device},
    )
    if precision == Precision.NF4:
        _unpack_odd_shapes(model)
    if precision in _DTYPES:
        _leave_the_file(model)
    if precision == Precision.BF16 and device.type == "cpu":
        pack_linears(model, model.get_output_embeddings())
    return model.eval().requires_grad_(requires_grad=False)


def _quantization(precision: Precision) -> Any | None:
    if precision == Precision.NF4:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if precision == Precision.INT8 else None


def _unpack_odd_shapes(model: torch.nn.Module) -> None:
    from bitsandbytes.nn import Linear4bit  # seconds to import, for this precision only

    for module in model.modules():
        if isinstance(module, Linear4bit) and (module.in_features % _PACKED[1] or module.out_features % _PACKED[0]):
            module.support_avx512bf16_for_cpu = False  # its kernel for such CPUs takes no other shapes


def _leave_the_file(model: torch.nn.Module) -> None:
    """Have weights in memory of torch's own: those of a safetensors file may be its pages, which are small ones."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
