"""Spectrograms -> what the decoder looks at: onnxruntime on CPUs, where it takes half the time, CTranslate2 on GPUs."""

from pathlib import Path
from typing import Protocol

import ctranslate2
import numpy as np
import onnxruntime as ort

from services.core.engine import EngineOptions
from services.engines.onnx import open_session
from services.engines.whisper.features import Floats

_GRAPH = "encoder.onnx"


class Encoder(Protocol):
    """Hears windows; lanes may call it at the same time."""

    def encode(self, features: Floats) -> Floats:
        """Of spectrograms ``[windows, mels, 3000]``, float32 ``[windows, 1500, width]``."""
        ...


def open_encoder(artefact: Path, model: ctranslate2.models.Whisper, options: EngineOptions) -> Encoder:
    """That of ``encoder.onnx`` on a CPU; ``model``'s on a GPU, and where the graph was too large to be written."""
    if model.device == "cpu" and (artefact / _GRAPH).exists():
        return _GraphEncoder(open_session(artefact / _GRAPH, options))
    return _ModelEncoder(model)


class _GraphEncoder:
    """A session, shared by all lanes. Windows run one by one: int8 scales are those of all that runs together."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session

    def encode(self, features: Floats) -> Floats:
        return np.concatenate([self._session.run(None, {"features": window[None]})[0] for window in features])


class _ModelEncoder:
    def __init__(self, model: ctranslate2.models.Whisper) -> None:
        self._model = model

    def encode(self, features: Floats) -> Floats:
        return np.array(self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True))
