"""Encoders on onnxruntime.

Runs a graph with inputs ``input_ids`` and ``attention_mask`` (int64 ``[batch, length]``) and a first output of
logits. Does not know where the graph came from or what its labels mean.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort

from services.core.engine import EngineOptions, Logits, TokenIds

_SLOWER = ("SkipLayerNormFusion",)
"""Optimizers that make CPU runs slower: the fused layer norm is not vectorized as its parts are; MiniLM-L6 in int8
takes a quarter less time without it (onnxruntime 1.31)."""


def open_session(graph: Path, options: EngineOptions) -> ort.InferenceSession:
    """A session as all engines here want it.

    Raises:
        RuntimeError: onnxruntime fell back to another provider than the first one asked for.
    """
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    # Spinning threads burn the CPU that the other lanes and the event loop need.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        str(graph), session_options, providers=list(options.providers), disabled_optimizers=_SLOWER
    )
    # get_available_providers() lists what was compiled in; only the session knows what it got.
    if session.get_providers()[0] != options.providers[0]:
        raise RuntimeError(f"asked onnxruntime for {options.providers[0]}, got {session.get_providers()[0]}")
    return session


class OnnxEncoder:
    """One onnxruntime session, shared by all lanes (a session's ``run`` is thread-safe)."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session: ort.InferenceSession | None = session

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open ``model.onnx`` of this folder.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
        """
        return cls(open_session(artefact / "model.onnx", options))

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        """Pad to the longest of the batch and run. Returns float32 ``[n, labels]``."""
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        if self._session is None:
            raise RuntimeError("the engine is closed")
        logits: Logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    def close(self) -> None:
        """Drop the session and its memory. Pipelines may share an engine, so it may be closed more than once."""
        self._session = None
