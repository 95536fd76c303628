"""Encoder-decoder checkpoints -> artefacts: what their texts look like, and their weights for the engine of the spec.

- ``checkpoint``: loads network and tokenizer; says how each family (Marian, M2M-100, mBART, T5) drives its decoder
- ``text``: languages and vocabulary -> what `services.core.codec` reads
- ``ct2``, ``onnx`` (with ``weight_only``), ``pytorch``: weights for an engine
- ``packing``, ``bundled``: how weights are kept in git, and back into a checkpoint
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.seq2seq.checkpoint import Checkpoint, decoder_settings, load
from models.export.seq2seq.text import write_text
from services.core import imports
from services.core.catalog import ModelSpec, Precision
from services.engines.decoder import DecoderSettings

Write = Callable[[Checkpoint, DecoderSettings, Precision, Path], Mapping[str, Any]]

WRITERS = {
    "ctranslate2": "models.export.seq2seq.ct2:write_ct2",
    "onnx-seq2seq": "models.export.seq2seq.onnx:write_onnx",
    "torch-seq2seq": "models.export.seq2seq.pytorch:write_checkpoint",
}
"""By engine: what writes the weights."""


def export_seq2seq(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``checkpoint``: a transformers Marian, M2M-100, NLLB, mBART or T5 checkpoint.

    Raises:
        ExportError: it cannot be opened, lacks a language, or the engine of the spec cannot run it.
    """
    return _export(load(sources["checkpoint"]), spec, target)


def export_bundled_seq2seq(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: a packed M2M-100 with its vocabulary (see `bundled`).

    Raises:
        ExportError: weights and config do not belong together, or a language is missing.
    """
    from models.export.seq2seq.bundled import holders, unpacked

    copied = holders(sources["weights"])
    with unpacked(sources["weights"]) as checkpoint:
        return _export(checkpoint, spec, target, copied)


def _export(checkpoint: Checkpoint, spec: ModelSpec, target: Path, holders: tuple[str, ...] = ()) -> dict[str, Any]:
    if spec.engine not in WRITERS:
        raise ExportError(f"{spec.id}: engine {spec.engine} runs no encoder-decoders; use one of {', '.join(WRITERS)}")
    write: Write = imports.load(WRITERS[spec.engine])
    decoder = decoder_settings(checkpoint)
    if decoder.positions is not None and spec.max_tokens > decoder.positions:
        raise ExportError(
            f"{spec.id}: the checkpoint takes {decoder.positions} tokens; in the catalog set max_tokens to that or less"
        )
    decoder.save(target)
    write_text(checkpoint, spec, target, holders)
    return {"family": checkpoint.family, **write(checkpoint, decoder, spec.precision, target)}
