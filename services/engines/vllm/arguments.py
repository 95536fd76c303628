"""What vLLM is started with: the catalog's words in its own.

Weights are safetensors of the artefact, code is its own; nothing comes from a hub. Nothing of a request is logged.
"""

from pathlib import Path
from typing import Any

from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs

from services.core.adapters import linear_shapes
from services.core.catalog import Precision
from services.core.engine import EngineOptions
from services.core.errors import OperatorError

_MIB = 1024 * 1024

_DTYPES = {Precision.FP32: "float32", Precision.BF16: "bfloat16"}
"""Others it reads from checkpoints that hold them: of those it makes while reading, none is for a linear layer's int8
or nf4."""

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM can be started with as the largest."""

_LORA_BYTES = 2
"""Of a number in an adapter: those run on bf16 weights only."""


def engine_args(artefact: Path, options: EngineOptions) -> AsyncEngineArgs:
    """For the Hugging Face folder of an artefact.

    Raises:
        OperatorError: vLLM does not do what the catalog entry says.
    """
    if not (artefact / "config.json").is_file():  # vLLM would look for a hub's model of this name
        raise OperatorError(f"{artefact}: there is no config.json; build the model with architecture causal-lm")
    generation = options.generation
    return AsyncEngineArgs(
        model=str(artefact.absolute()),
        load_format="safetensors",
        trust_remote_code=False,
        max_model_len=options.context or None,
        max_num_seqs=generation.sequences,
        max_num_batched_tokens=max(generation.step_tokens, generation.sequences),
        block_size=generation.block_tokens,
        kv_cache_memory_bytes=generation.cache_mib * _MIB,
        scheduling_policy="priority",
        structured_outputs_config=StructuredOutputsConfig(backend="guidance"),  # what requests were checked with
        disable_log_stats=True,
        enable_log_requests=False,
        dtype=_dtype(options),
        **_lora(artefact, options),
    )


def _dtype(options: EngineOptions) -> str:
    if options.precision not in _DTYPES:
        raise OperatorError(f"vllm makes no {options.precision} weights; use fp32, bf16, or engine torch-lm")
    if options.precision == Precision.FP32 and options.max_adapter_rank:
        raise OperatorError("vllm runs no adapters on fp32 weights; set precision: bf16, or max_adapter_rank: 0")
    return _DTYPES[options.precision]


def _lora(artefact: Path, options: EngineOptions) -> dict[str, Any]:
    """As many adapters in a step as there is memory for on the GPU, and as many again beside it."""
    if not options.max_adapter_rank:
        return {}
    rank = next((rank for rank in _RANKS if rank >= options.max_adapter_rank), None)
    if rank is None:
        raise OperatorError(f"vllm runs adapters of rank {_RANKS[-1]} at most; set max_adapter_rank to that or less")
    each = sum(rank * (outputs + inputs) * _LORA_BYTES for outputs, inputs in linear_shapes(artefact).values())
    fit = max(1, min(options.generation.sequences, options.generation.adapters_mib * _MIB // each))
    return {"enable_lora": True, "max_lora_rank": rank, "max_loras": fit, "max_cpu_loras": 2 * fit}
