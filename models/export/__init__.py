"""Exporters by architecture: what turns sources into an artefact folder. Imported on first use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.core import imports
from services.core.catalog import ModelSpec
from services.core.errors import OperatorError

EXPORTERS = {
    "mean-pooled-classifier": "models.export.onnx:export_mean_pooled_classifier",
    "sequence-classification": "models.export.onnx:export_sequence_classification",
    "seq2seq": "models.export.seq2seq:export_seq2seq",
    "bundled-seq2seq": "models.export.seq2seq:export_bundled_seq2seq",
    "causal-lm": "models.export.causal_lm:export_causal_lm",
    "causal-lm-genai": "models.export.causal_lm:export_causal_lm_genai",
    "llama2c": "models.export.llama2c:export_llama2c",
    "moonshine": "models.export.moonshine:export_moonshine",
    "pocketsphinx": "models.export.pocketsphinx:export_pocketsphinx",
    "wav2vec2-ctc": "models.export.ctc:export_wav2vec2_ctc",
    "whisper": "models.export.whisper:export_whisper",
    "bundled-ctc": "models.export.bundled_ctc:export_bundled_ctc",
}

QUANTIZING = frozenset({"seq2seq", "bundled-seq2seq"})
"""Architectures whose exporter writes the spec's own precision; for the others, `models.build` quantizes fp32."""

UNGATED = frozenset({"causal-lm", "causal-lm-genai", "llama2c", "moonshine", "pocketsphinx", "wav2vec2-ctc", "whisper"})
"""Architectures published as they are exported, in any precision: language models, whose scores no gate knows yet, what
is made small at its source, and recognisers of weights that are not ours."""

Export = Callable[[ModelSpec, Mapping[str, Path], Path], Mapping[str, Any]]


class ExportError(OperatorError):
    """A model that cannot be exported as asked, or whose export computes something else; nothing is published."""


def exporter(architecture: str) -> Export:
    """The function that exports this architecture.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if architecture not in EXPORTERS:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(EXPORTERS)}")
    export: Export = imports.load(EXPORTERS[architecture])
    return export
