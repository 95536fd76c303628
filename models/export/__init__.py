"""Exporters by architecture: what turns sources into an artefact folder. Imported on first use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.core import imports
from services.core.catalog import ModelSpec

EXPORTERS = {
    "mean-pooled-classifier": "models.export.onnx:export_mean_pooled_classifier",
    "sequence-classification": "models.export.onnx:export_sequence_classification",
}

Export = Callable[[ModelSpec, Mapping[str, Path], Path], Mapping[str, Any]]


def exporter(architecture: str) -> Export:
    """The function that exports this architecture.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if architecture not in EXPORTERS:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(EXPORTERS)}")
    export: Export = imports.load(EXPORTERS[architecture])
    return export
