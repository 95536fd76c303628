"""The acoustic network of an artefact on onnxruntime: waveforms -> logits by frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.core.audio import Samples
from services.core.engine import EngineOptions
from services.core.errors import OperatorError
from services.engines.ctc.format import CtcFormat
from services.engines.onnx import open_session

_TYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
_TINY = 1e-7
"""Added to a variance, as transformers does."""


class Network:
    """One session, shared by all lanes (a session's ``run`` is thread-safe).

    Padding changes what networks compute that take norms over time, and dynamic quantization takes one scale for a
    whole batch: unless the artefact says that batches are safe, waveforms run one by one.
    """

    def __init__(self, session: ort.InferenceSession, settings: CtcFormat) -> None:
        self._session: ort.InferenceSession | None = session
        self._settings = settings
        self._mask = next(
            (_TYPES[given.type] for given in session.get_inputs() if given.name == "attention_mask"), None
        )

    @classmethod
    def load(cls, artefact: Path, settings: CtcFormat, options: EngineOptions) -> Self:
        """Open ``model.onnx``.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
            OperatorError: its logits are not those of the vocabulary.
        """
        session = open_session(artefact / "model.onnx", options)
        tokens = session.get_outputs()[0].shape[-1]
        if isinstance(tokens, int) and tokens != len(settings.tokens):
            raise OperatorError(
                f"{artefact}: model.onnx has logits for {tokens} tokens, ctc.json names {len(settings.tokens)};"
                " export the model again"
            )
        return cls(session, settings)

    def logits(self, batch: Sequence[Samples]) -> list[NDArray[np.float32]]:
        """Of each waveform, float32 ``[frames, tokens]``."""
        waves = [self._prepared(samples) for samples in batch]
        if self._mask is None or not self._settings.batches or len(waves) == 1:
            return [self._run([wave])[0] for wave in waves]
        found = self._run(waves)
        return [rows[: self._settings.frames(len(wave))] for rows, wave in zip(found, waves, strict=True)]

    def close(self) -> None:
        """Drop the session and its memory."""
        self._session = None

    def _prepared(self, samples: Samples) -> Samples:
        settings = self._settings
        if settings.normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(_TINY))
        missing = settings.fewest_samples - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples

    def _run(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        if self._session is None:
            raise RuntimeError("the engine is closed")
        values = np.zeros((len(waves), max(map(len, waves))), dtype=np.float32)
        mask = np.zeros(values.shape, dtype=self._mask or np.int64)
        for row, wave in enumerate(waves):
            values[row, : len(wave)] = wave
            mask[row, : len(wave)] = 1
        feeds = {"input_values": values} | ({"attention_mask": mask} if self._mask else {})
        logits: NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits
