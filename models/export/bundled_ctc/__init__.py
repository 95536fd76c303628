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
from models.export.bundled_ctc.trunk import FIELD, SILENCE, STRIDE, open_trunk
from models.export.voice import copy_voice_detector
from services.core.audio import SPEECH_RATE
from services.core.catalog import ModelSpec
from services.engines.ctc.format import CtcFormat


def export_bundled_ctc(_: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``trunk``: Moonshine's encoder; ``weights``: a network that spots words; ``vad``: the voice detector.

    Raises:
        ExportError: a source is something else, or the graph computes something else than torch.
    """
    network, settings = load(sources["weights"])
    report = write_graph(open_trunk(sources["trunk"]), network, target / "model.onnx")
    described(settings).save(target)
    copy_voice_detector(sources, target)
    return report


def described(settings: Settings) -> CtcFormat:
    """What the engine has to know: each token is a whole word, told about the middle of what a frame sees.

    Utterances run one by one: the trunk's scales are those of all that runs together.
    """
    return CtcFormat(
        tokens=settings.tokens,
        blank=0,
        silent=settings.silent,
        word_bonus=settings.word_bonus,
        frame_seconds=2 * STRIDE / SPEECH_RATE,
        frame_offset=((FIELD - STRIDE) / 2 - SILENCE) / SPEECH_RATE,
        languages=settings.languages,
        seconds=settings.seconds,
    )
