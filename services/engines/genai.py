"""Language models on onnxruntime-genai: int4 weights, for speed on a CPU. Reads ``genai/`` of an artefact.

It keeps the cache of each sequence for itself, in one piece: to the scheduler a sequence is one block. Sequences are
computed one after another, each with all threads, so many take turns where the torch engine would take them together.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime_genai as og

from services.core.adapters import Adapter
from services.core.engine import Chunk, EngineOptions, GeneratorLimits, Logits
from services.core.errors import Code, ServingError

FOLDER = "genai"
SEQUENCES = 16
"""Most at a time: each has its cache, and waits for the others."""


class GenaiGenerator:
    """One model, and one of onnxruntime-genai's generators for each sequence."""

    def __init__(self, model: og.Model, limits: GeneratorLimits) -> None:
        self._model: og.Model | None = model
        self._limits = limits
        self._sequences: dict[int, og.Generator] = {}

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open the graph. Steps come from one thread, so it gets the threads of all lanes."""
        folder = artefact / FOLDER
        described = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
        context = min(options.context or described["context_length"], described["context_length"])
        config = og.Config(str(folder))
        session = {
            "intra_op_num_threads": options.lanes * options.threads,  # by itself it takes one
            # A step is many short products: a thread that sleeps between them makes it 1.3 to 1.6 times as long.
            "session.intra_op.allow_spinning": "1",
        }
        config.overlay(
            json.dumps({"model": {"decoder": {"session_options": session}}, "search": {"max_length": context}})
        )
        limits = GeneratorLimits(
            context=context,
            vocabulary=described["vocab_size"],
            sequences=SEQUENCES,
            blocks=SEQUENCES,
            block_tokens=context,
        )
        return cls(og.Model(config), limits)

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""
        return self._limits

    def ready(self, adapter: Adapter) -> bool:
        """Never: an adapter is merged into the weights before they are cut to int4."""
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{adapter.base} takes no adapters: its weights are int4; use the same model on the torch engine.",
            "model",
        )

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Compute these tokens, one sequence after another."""
        rows = [logits for chunk in chunks if (logits := self._advance(chunk)) is not None]
        return np.stack(rows) if rows else np.empty((0, self._limits.vocabulary), np.float32)

    def _advance(self, chunk: Chunk) -> Logits | None:
        sequence = self._sequences.get(chunk.sequence) or self._begin(chunk.sequence)
        if (there := sequence.token_count()) != chunk.start:
            raise RuntimeError(f"sequence {chunk.sequence} has {there} tokens; its next cannot be at {chunk.start}")
        sequence.append_tokens(np.asarray(chunk.tokens, dtype=np.int32))
        logits: Logits = sequence.get_logits()[0, -1]
        return logits if chunk.ends else None

    def _begin(self, number: int) -> og.Generator:
        if self._model is None:
            raise RuntimeError("the engine is closed")
        sequence = og.Generator(self._model, og.GeneratorParams(self._model))
        self._sequences[number] = sequence
        return sequence

    def release(self, sequence: int) -> None:
        """Drop the sequence's cache."""
        self._sequences.pop(sequence, None)

    def close(self) -> None:
        """Drop the model and what is left of sequences."""
        self._sequences.clear()
        self._model = None
