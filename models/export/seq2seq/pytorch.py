"""A checkpoint -> ``checkpoint/``, for torch: its own safetensors, in float32 and without tokenizer or code."""

from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.seq2seq.checkpoint import Checkpoint
from services.core.catalog import Precision
from services.engines.decoder import DecoderSettings


def write_checkpoint(checkpoint: Checkpoint, _: DecoderSettings, precision: Precision, target: Path) -> dict[str, Any]:
    """Save the network.

    Raises:
        ExportError: int8 is asked for, which torch does not compute here.
    """
    if precision != Precision.FP32:
        raise ExportError(f"torch-seq2seq computes in fp32; for {precision} use engine ctranslate2 or onnx-seq2seq")
    checkpoint.model.save_pretrained(target / "checkpoint")
    return {"bytes": sum(file.stat().st_size for file in (target / "checkpoint").glob("*.safetensors"))}
