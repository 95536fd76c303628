"""The bundled network that spots words -> an artefact of the ``ctc`` engine.

network      the definition that its recipe trains
checkpoint   how it is kept in git: ``model.safetensors`` and ``config.json``
graph        the network as ``model.onnx``, checked against torch
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.export.bundled_ctc.checkpoint import Settings, load
from models.export.bundled_ctc.graph import write_graph
from models.export.bundled_ctc.network import FRAME_SAMPLES, RATE
from models.export.voice import copy_voice_detector
from services.core.catalog import ModelSpec
from services.engines.ctc.format import CtcFormat


def export_bundled_ctc(_: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: a network that spots words (see `checkpoint`); ``vad``: the voice detector.

    Raises:
        ExportError: weights and config do not belong together, or the graph computes something else than torch.
    """
    network, settings = load(sources["weights"])
    report = write_graph(network, target / "model.onnx")
    described(settings).save(target)
    copy_voice_detector(sources, target)
    return report


def described(settings: Settings) -> CtcFormat:
    """What the engine has to know: each token is a whole word, told about the middle of its frame."""
    return CtcFormat(
        tokens=settings.tokens,
        blank=0,
        frame_seconds=FRAME_SAMPLES / RATE,
        frame_offset=-FRAME_SAMPLES / RATE / 2,
        batches=True,
        languages=settings.languages,
        seconds=settings.seconds,
    )
