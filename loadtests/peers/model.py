"""The model every peer serves: the same ``tokenizer.json`` and ``model.onnx``, on onnxruntime, as Chorale serves.

Knows no server, and imports nothing of Chorale: it runs in the peers' own environments.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ranked = list[tuple[str, float]]
"""Labels and probabilities of one text, the best first."""


class Classifier:
    """Texts in, ranked labels out. ``classify`` may be called by several threads at once.

    Args:
        folder: has ``tokenizer.json`` and ``model.onnx``.
        labels: what the columns of the graph's logits mean.
        threads: of onnxruntime, within one call.
    """

    def __init__(self, folder: Path, labels: Sequence[str], threads: int) -> None:
        self._labels = tuple(labels)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()  # the file fixes both, at 128
        self._tokenizer.no_padding()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads burn the CPU that the other worker and the web server need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The fused layer norm is slower than its parts; Chorale's engine leaves it out, too.
        slower, provider = ["SkipLayerNormFusion"], ["CPUExecutionProvider"]
        file = str(folder / "model.onnx")
        self._session = ort.InferenceSession(file, options, providers=provider, disabled_optimizers=slower)

    def classify(self, texts: Sequence[str], groups: int | None = None) -> list[Ranked]:
        """All texts as one padded batch; with ``groups``, sorted by length and run that many at a time."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        if groups is None:
            return self._run(rows)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        cuts = [order[first : first + groups] for first in range(0, len(order), groups)]
        found = {i: ranked for cut in cuts for i, ranked in zip(cut, self._run([rows[i] for i in cut]), strict=True)}
        return [found[index] for index in range(len(rows))]

    def _run(self, rows: Sequence[Sequence[int]]) -> list[Ranked]:
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return [self._ranked(scores) for scores in softmax(logits)]

    def _ranked(self, scores: NDArray[np.float32]) -> Ranked:
        return sorted(zip(self._labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of each row."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True), dtype=np.float32)


def as_json(ranked: Ranked) -> dict[str, list[dict[str, str | float]]]:
    """The answer for one text, where a server leaves its shape to the user."""
    return {"labels": [{"label": label, "score": score} for label, score in ranked]}
