"""Whisper checkpoints -> artefacts for CTranslate2, whatever they were published as.

The source ``weights`` is a folder with one of

- a transformers checkpoint: ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``, from a path only)
- a checkpoint of openai-whisper: one ``.pt`` file; it has no tokenizer, so a source ``tokenizer`` is needed: a folder
  with the ``tokenizer.json`` of a checkpoint of the same kind, English-only or multilingual
- a model that was converted for CTranslate2, as faster-whisper has them: ``model.bin``, ``config.json`` and a
  vocabulary; it is taken as it is, and computes in the precision of the catalog entry

The artefact is the same for all: ``ct2/``, ``encoder.onnx``, ``tokenizer.json``, ``whisper.json`` and ``vad.onnx``. On
a CPU ``encoder.onnx`` is the encoder, on a GPU CTranslate2's own. An entry of a catalog of one's own
(``CHORALE_CATALOG``), in ``asr.yaml``:

    models:
      - name: whisper-tiny
        description: Whisper tiny, 99 languages.
        engine: whisper
        architecture: whisper
        sources:
          weights: {uri: "hub:openai/whisper-tiny@<commit>"}  # or path:…
          vad: {uri: bundled:silero-vad}
          # for a .pt: tokenizer: {uri: "hub:openai/whisper-tiny@<commit>"}
        languages: {en: en, de: de}  # left out: all that it knows
        abilities: [hot_words, prompt, temperature, translate, word_times]
        max_tokens: 448
        precision: int8
        # Costs are frames of 10 ms; the encoder hears 30 s whatever is said, so that nothing is lost by padding.
        batch: {group_items: 4, group_cost: 12000, run_cost: 12000, window_items: 4, window_cost: 12000, gather: 0.05}
        licence: Apache-2.0

- ``checkpoint``: transformers checkpoints
- ``openai``: those of openai-whisper, given transformers' names
- ``converted``: those that are CTranslate2's already
- ``text``: the tokenizer, and what its special tokens say
- ``ct2``: weights in the precision of the spec
- ``encoder``: the encoder as a graph; ``variables`` reads what it is made of
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ctranslate2

from models.export import ExportError
from models.export.voice import copy_voice_detector
from models.export.whisper.ct2 import TYPES, write_config
from models.export.whisper.encoder import write_encoder
from models.export.whisper.text import Text, open_text
from services.core.catalog import ModelSpec

POSITIONS = 448
"""Tokens a decoder takes; all published checkpoints have been trained with as many."""


def export_whisper(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``, and ``tokenizer`` where they have none; ``vad``, the voice detector.

    Raises:
        ExportError: the weights are in none of the three forms, the tokenizer is missing or another checkpoint's, a
            language of the spec is not known, or its precision is another engine's.
    """
    if spec.precision not in TYPES:
        raise ExportError(f"{spec.id}: {spec.precision} is not made of {spec.architecture}; use fp32 or int8")
    (target / "ct2").mkdir()
    text, form = _write_model(spec, sources, target)
    text.tokenizer.save(str(target / "tokenizer.json"))
    copy_voice_detector(sources, target)
    model = _opened(target / "ct2", spec)
    settings = text.settings(mels=model.n_mels, positions=POSITIONS, compute_type=TYPES[spec.precision])
    settings.save(target)
    report = write_encoder(target / "ct2", spec.precision, target / "encoder.onnx")
    size = (target / "ct2" / "model.bin").stat().st_size
    return {"form": form, "languages": len(settings.languages), "bytes": size, **report}


def _write_model(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> tuple[Text, str]:
    """Fill ``ct2/``; returns what its tokens mean, and the form it was in."""
    folder = sources["weights"]
    if (folder / "model.bin").is_file():
        from models.export.whisper.converted import link_model, opened_vocabulary

        text = open_text(spec, sources, opened_vocabulary(folder))
        write_config(link_model(folder, target / "ct2"), text, target / "ct2")
        return text, "ctranslate2"
    from models.export.whisper.ct2 import write_weights
    from models.export.whisper.openai import load_pt, only_pt

    if file := only_pt(folder):
        network, form = load_pt(file), "openai"
    else:
        from models.export.whisper.checkpoint import load

        network, form = load(folder), "transformers"
    text = open_text(spec, sources, network.vocabulary_size)
    write_weights(network, text, spec.precision, target / "ct2")
    return text, form


def _opened(folder: Path, spec: ModelSpec) -> Any:
    """The model as CTranslate2 opens it: that it can is part of the export."""
    try:
        return ctranslate2.models.Whisper(str(folder), compute_type=TYPES[spec.precision], intra_threads=1)
    except RuntimeError as error:
        raise ExportError(f"{spec.id}: CTranslate2 cannot open the model: {error}") from error
