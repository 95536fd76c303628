"""Moonshine (Jeffries et al. 2024) as it is published for onnxruntime -> artefacts of the engine of that name.

- ``source``: opens the published graphs
- ``models.export.graph`` writes new ones
- ``encoder``, ``decoder`` (with ``layer``): what is computed once for an utterance, and what for each token
- ``text``: the vocabulary

The numbers are the published int8 ones. Nothing is quantized here, so there is no score to lose; that the new graphs
compute what the published ones do is checked before anything is kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from models.export.moonshine.decoder import decoder
from models.export.moonshine.encoder import encoder
from models.export.moonshine.parity import require_parity
from models.export.moonshine.source import Published, open_published
from models.export.moonshine.text import read_tokenizer
from models.export.voice import copy_voice_detector
from services.core.catalog import ModelSpec

ENCODER, DECODER = "encoder_model.ort", "decoder_model_merged.ort"


def export_moonshine(_: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: the two graphs and ``tokenizer.bin``; ``vad``: the voice detector.

    Raises:
        ExportError: they are something else, or what is written computes something else.
    """
    folder = sources["weights"]
    merged = open_published(folder / DECODER)
    first, later = (Published(merged, branch) for branch in ("else_branch", "then_branch"))
    onnx.save(encoder(Published(open_published(folder / ENCODER)), first), target / "encoder.onnx")
    onnx.save(decoder(later), target / "decoder.onnx")
    read_tokenizer(folder / "tokenizer.bin").save(str(target / "tokenizer.json"), pretty=False)
    copy_voice_detector(sources, target)
    return {"parity_error": require_parity(folder, target)}
