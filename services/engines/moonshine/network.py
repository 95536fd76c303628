"""The two graphs of an artefact: an utterance into keys and values, and a step of its hypotheses.

``models.export.moonshine`` describes the graphs and writes them. Utterances are run one at a time: the encoder
normalises over all of an utterance, and scales of int8 are found on the fly, so that company would change results. The
hypotheses of one utterance are each other's only company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.core.audio import SPEECH_RATE, Samples
from services.core.engine import EngineOptions
from services.engines.onnx import open_session

FRAME_SECONDS = 64 * 3 * 2 / SPEECH_RATE
"""Between frames: three convolutions take every 64th, every third and every second of what they see."""

MARGIN = 0.25
"""Seconds of silence that are put before and after every utterance: of 63 single digits, 39 are then right, not 23. It
makes the shortest utterance long enough for the convolutions, and numbers come in words, not sometimes in figures."""

POSITIONS = 512
"""Most tokens of an utterance."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tensors = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a step says of each hypothesis.

    Args:
        tokens: the most probable next ones, best first, ``[rows, choices]``.
        log_probs: natural logarithms of their probabilities.
        attention: how much each frame was looked at, ``[rows, frames]``.
        past: keys and values, a step longer.
    """

    tokens: Ints
    log_probs: Floats
    attention: Floats
    past: Tensors

    def keep(self, rows: Sequence[int]) -> Tensors:
        """The past of these rows, in this order."""
        if list(rows) == list(range(len(self.tokens))):
            return self.past  # nothing moves
        return {name: values[list(rows)] for name, values in self.past.items()}


class Network:
    """Two sessions, shared by all lanes (a session's ``run`` is thread-safe)."""

    def __init__(self, encoder: ort.InferenceSession, decoder: ort.InferenceSession) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._cross = [one.name for one in encoder.get_outputs()]
        self._past = [name.replace("cross", "past") for name in self._cross]
        self._wanted = ["tokens", "log_probs", "attention", *(name.removeprefix("cross_") for name in self._cross)]

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open both graphs.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
        """
        return cls(*(open_session(artefact / f"{name}.onnx", options) for name in ("encoder", "decoder")))

    def encode(self, samples: Samples) -> Tensors:
        """What each step needs of an utterance; its first frame is in the silence before it."""
        padded = np.pad(samples, int(MARGIN * SPEECH_RATE)).astype(np.float32, copy=False)
        return dict(zip(self._cross, self._encoder.run(None, {"input_values": padded[None]}), strict=True))

    def beginning(self, heard: Tensors) -> Tensors:
        """The past of one hypothesis without tokens."""
        return {past: heard[cross][:, :, :0] for past, cross in zip(self._past, self._cross, strict=True)}

    def step(self, heard: Tensors, past: Tensors, tokens: Sequence[int]) -> Choices:
        """Give each hypothesis its next token.

        Args:
            heard: of `encode`.
            past: of `beginning` or `Choices.keep`.
            tokens: one for each row of the past.
        """
        feeds = {**heard, **past, "input_ids": np.array(tokens, dtype=np.int64)[:, None]}
        best, log_probs, attention, *longer = self._decoder.run(self._wanted, feeds)
        return Choices(best, log_probs, attention, dict(zip(self._past, longer, strict=True)))
