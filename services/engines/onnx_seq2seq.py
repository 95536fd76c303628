"""Encoder-decoders on onnxruntime, where CTranslate2 does not run; the search is `services.engines.search`.

Reads ``encoder.onnx``, ``decoder.onnx`` and ``decoder.json`` of an artefact. The encoder computes once what the decoder
attends to; the decoder takes a step at a time and is given its own past.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.core.engine import Decoding, EngineOptions, Hypothesis, Seq2SeqInput
from services.engines.decoder import DecoderSettings
from services.engines.onnx import open_session
from services.engines.search import Floats, Ints, search


def tensor_names(layers: int, role: str = "") -> list[str]:
    """What the graphs call the keys and values of each layer: ``past_key_0``, ``past_value_0``, ``past_key_1``, …"""
    opening = f"{role}_" if role else ""
    return [f"{opening}{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


class OnnxSeq2Seq:
    """Two sessions, shared by all lanes (a session's ``run`` is thread-safe)."""

    def __init__(self, encoder: ort.InferenceSession, step: ort.InferenceSession, decoder: DecoderSettings) -> None:
        self._sessions: tuple[ort.InferenceSession, ort.InferenceSession] | None = encoder, step
        self._decoder = decoder

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open both graphs.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
        """
        encoder, step = (open_session(artefact / f"{name}.onnx", options) for name in ("encoder", "decoder"))
        return cls(encoder, step, DecoderSettings.load(artefact))

    def run(self, batch: Sequence[Seq2SeqInput], decoding: Decoding) -> list[tuple[Hypothesis, ...]]:
        """Search all together, prefixes of other lengths apart; an item leaves the batch when it is done."""
        if self._sessions is None:
            raise RuntimeError("the engine is closed")
        answers: dict[int, tuple[Hypothesis, ...]] = {}
        for length in dict.fromkeys(len(item.prefix) for item in batch):
            rows = [row for row, item in enumerate(batch) if len(item.prefix) == length]
            found = self._search(*self._sessions, [batch[row] for row in rows], decoding)
            answers |= dict(zip(rows, found, strict=True))
        return [answers[row] for row in range(len(batch))]

    def close(self) -> None:
        """Drop the sessions and their memory. Pipelines may share an engine, so it may be closed more than once."""
        self._sessions = None

    def _search(
        self,
        encoder: ort.InferenceSession,
        step: ort.InferenceSession,
        batch: Sequence[Seq2SeqInput],
        decoding: Decoding,
    ) -> list[tuple[Hypothesis, ...]]:
        ids = np.full((len(batch), max(len(item.source) for item in batch)), self._decoder.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, item in enumerate(batch):
            ids[row, : len(item.source)] = item.source
            mask[row, : len(item.source)] = 1
        cross = encoder.run(None, {"input_ids": ids, "attention_mask": mask})
        start = () if self._decoder.start is None else (self._decoder.start,)
        openings = np.array([(*start, *item.prefix) for item in batch])
        limits = [item.max_tokens for item in self._decoder.within(batch)]
        found = search(_Steps(step, cross, mask, self._decoder), openings, limits, self._decoder.end, decoding)
        return [
            tuple(_within(one, len(item.source)) for one in several) for item, several in zip(batch, found, strict=True)
        ]


def _within(hypothesis: Hypothesis, source: int) -> Hypothesis:
    """Without the columns of attention that are padding."""
    if hypothesis.attention is None:
        return hypothesis
    return replace(hypothesis, attention=hypothesis.attention[:, :source])


class _Steps:
    """The decoder graph with the past of its rows."""

    def __init__(
        self, session: ort.InferenceSession, cross: list[Floats], mask: Ints, decoder: DecoderSettings
    ) -> None:
        self._session = session
        self._cross, self._mask = cross, mask
        self._cross_names = tensor_names(decoder.layers, "cross")
        self._past_names = tensor_names(decoder.layers, "past")
        self._items = np.arange(len(mask))
        rows, heads, _, size = cross[0].shape
        self._past = [np.zeros((rows, heads, 0, size), np.float32) for _ in self._past_names]

    def step(self, tokens: Ints) -> tuple[Floats, Floats | None]:
        feeds: dict[str, NDArray[np.generic]] = {"input_ids": tokens[:, None], "attention_mask": self._mask}
        feeds |= zip(self._cross_names, self._cross, strict=True)
        feeds |= zip(self._past_names, self._past, strict=True)
        chances, attention, *self._past = self._session.run(None, feeds)
        return chances, attention

    def keep(self, rows: Ints) -> None:
        if not np.array_equal(rows, np.arange(len(self._items))):
            self._past = [past[rows] for past in self._past]
        # All rows of an item read the same source: while each has as many rows as before, nothing moves.
        if not np.array_equal(self._items[rows], self._items):
            self._cross = [cross[rows] for cross in self._cross]
            self._mask = self._mask[rows]
        self._items = self._items[rows]
