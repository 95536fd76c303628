"""Weights of a checkpoint -> ``ct2/``, in the precision of the spec.

CTranslate2's own loaders read the layers of a live model; vocabulary and special tokens are written here, from what
every other engine reads too. Its int8 is symmetric with a scale per row; activations are quantized row by row when
the model runs, so nothing has to be calibrated and an item does not depend on its batch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ctranslate2.converters.transformers import M2M100Loader, MarianMTLoader, MBartLoader, MT5Loader, T5Loader
from ctranslate2.specs.model_spec import OPTIONAL
from ctranslate2.specs.transformer_spec import TransformerSpec

from models.export import ExportError
from models.export.seq2seq.checkpoint import Checkpoint, tokens
from services.core.catalog import Precision
from services.engines.decoder import DecoderSettings

_LOADERS = {
    "marian": MarianMTLoader,
    "m2m_100": M2M100Loader,
    "mbart": MBartLoader,
    "t5": T5Loader,
    "mt5": MT5Loader,
}
_TYPES = {Precision.FP32: "float32", Precision.INT8: "int8"}


def write_ct2(checkpoint: Checkpoint, decoder: DecoderSettings, precision: Precision, target: Path) -> dict[str, Any]:
    """Write the model; the checkpoint's own weights may be changed by it.

    Raises:
        ExportError: the vocabulary is not laid out as CTranslate2 needs it.
    """
    vocabulary = tokens(checkpoint)
    if checkpoint.family == "marian":
        # CTranslate2 starts Marian from a zero vector, and cuts off the padding token that stands for it here.
        if decoder.pad != len(vocabulary) - 1:
            raise ExportError("CTranslate2 needs Marian's <pad> to be the last token; use engine onnx-seq2seq")
        vocabulary = vocabulary[:-1]
    if checkpoint.family == "mbart":  # no longer a field of its config
        checkpoint.model.config.normalize_before = True
    with torch.no_grad():
        spec = _LOADERS[checkpoint.family]().get_model_spec(checkpoint.model)
    _correct(spec, checkpoint, decoder)
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.eos_token = vocabulary[decoder.end]
    spec.config.unk_token = vocabulary[checkpoint.tokenizer.unk_token_id]
    spec.config.decoder_start_token = _start(checkpoint, decoder, vocabulary)
    spec.validate()
    spec.optimize(quantization=_TYPES[precision])
    (target / "ct2").mkdir()
    spec.save(str(target / "ct2"))
    return {"bytes": (target / "ct2" / "model.bin").stat().st_size}


def _start(checkpoint: Checkpoint, decoder: DecoderSettings, vocabulary: list[str]) -> str | None:
    """Marian's may be any token: it is not looked at."""
    start = decoder.end if checkpoint.family == "marian" else decoder.start
    return None if start is None else vocabulary[start]


def _correct(spec: TransformerSpec, checkpoint: Checkpoint, decoder: DecoderSettings) -> None:
    """What the loaders leave at a default, or read from a field that transformers 5 no longer sets."""
    config = checkpoint.model.config
    heads = config.num_heads if checkpoint.family in ("t5", "mt5") else config.decoder_attention_heads
    spec.decoder.alignment_layer = np.int16(decoder.attention_layer)
    spec.decoder.alignment_heads = np.int16(heads)
    if checkpoint.family in ("t5", "mt5"):
        spec.decoder.scale_outputs = np.float32(config.d_model**-0.5) if config.scale_decoder_outputs else OPTIONAL
