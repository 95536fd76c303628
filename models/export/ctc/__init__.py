"""Checkpoints that write letters by CTC (wav2vec 2.0, HuBERT, WavLM) -> what the ``ctc`` engine reads.

- ``checkpoint``: loads a network, and tells what its tokens and frames are
- ``graph``: network -> ``model.onnx`` in fp32, checked against torch, or in int8
- ``language_model``: n-grams that go with it

A catalog entry for one has ``engine: ctc``, ``architecture: wav2vec2-ctc``, its ``languages``, and the sources
``weights``, ``vad`` and, if there is one, ``language_model``; in int8 also a gate.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.ctc.checkpoint import described, load
from models.export.ctc.graph import write_graph
from models.export.ctc.language_model import copy_language_model
from models.export.voice import copy_voice_detector
from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions
from services.engines.ctc.engine import CtcRecognizer


def export_wav2vec2_ctc(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: a transformers checkpoint folder with its tokenizer; ``language_model``, if any; ``vad``.

    Raises:
        ExportError: it is of another kind, its vocabulary is not one of letters and spaces, or ONNX computes something
            else.
        ArpaError: the language model is damaged or too large.
    """
    if not spec.languages:
        raise ExportError(f"{spec.id}: nothing in a checkpoint tells its language; set 'languages: {{en: en}}'")
    checkpoint = load(sources["weights"])
    settings = described(checkpoint, tuple(spec.languages), copy_language_model(sources, target))
    report = write_graph(checkpoint.model, settings, spec.precision, target)
    settings.save(target)
    copy_voice_detector(sources, target)
    CtcRecognizer.load(target, EngineOptions()).close()  # what it does not take is better refused here
    return {"family": checkpoint.model.config.model_type, **report}
