"""Causal language models -> artefacts: a folder that transformers reads, in the precision of the spec.

- ``checkpoint``: whether a folder is a causal language model, whole, and of safetensors
- ``weights``: its safetensors, linked or cast
- ``text``: tokenizer, chat template and defaults of generation
- ``genai``, ``merge``: the same network, or one with an adapter in it, for onnxruntime-genai

nf4 and int8 are made when the torch engine loads, from bf16. None of this is compared with fp32: a language model is
judged by its perplexity, which no gate measures yet.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.causal_lm.checkpoint import Checkpoint, opened
from models.export.causal_lm.text import write_text
from models.export.causal_lm.weights import write_config, write_weights
from services.core.catalog import ModelSpec, Precision

STORED = {Precision.FP32: "float32", Precision.BF16: "bfloat16", Precision.NF4: "bfloat16", Precision.INT8: "bfloat16"}
"""By precision: what the weights are stored in."""


def export_causal_lm(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: a checkpoint of transformers, of one or of several safetensors.

    Raises:
        ExportError: it is not one, its parts do not fit, or its precision is another engine's.
    """
    if spec.precision not in STORED:
        raise ExportError(f"{spec.id}: {spec.precision} is not made of {spec.architecture}; use causal-lm-genai")
    checkpoint = opened(sources["weights"])
    report = _described(spec, checkpoint, target, STORED[spec.precision])
    write_weights(checkpoint, target, STORED[spec.precision])
    return report


def export_causal_lm_genai(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights`` for onnxruntime-genai, in ``genai/`` beside the tokenizer; with ``adapter``, a LoRA of them, merged.

    Raises:
        ExportError: as above, the adapter does not fit, or the network is none that onnxruntime-genai runs.
    """
    from models.export.causal_lm.genai import write_genai
    from models.export.causal_lm.merge import merged

    checkpoint = opened(sources["weights"])
    report = _described(spec, checkpoint, target, "float32")
    if "adapter" not in sources:
        write_genai(checkpoint, spec.precision, target)
    else:
        with merged(checkpoint, sources["adapter"], target) as whole:
            write_genai(whole, spec.precision, target)
    return report


def _described(spec: ModelSpec, checkpoint: Checkpoint, target: Path, dtype: str) -> dict[str, Any]:
    """Write all but the weights; returns what the manifest says of the network."""
    if checkpoint.positions is not None and spec.max_tokens > checkpoint.positions:
        raise ExportError(
            f"{spec.id}: the checkpoint takes {checkpoint.positions} tokens;"
            " in the catalog set max_tokens to that or less"
        )
    write_text(checkpoint, target)
    write_config(checkpoint, target, dtype)
    return {"family": checkpoint.family, "parameters": checkpoint.parameters}
