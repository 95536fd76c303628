"""Classification on an encoder: tokens -> logits -> sorted, calibrated label probabilities.

Temperature is part of the artefact's graph, so the softmax here already gives calibrated probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.core.catalog import ModelSpec
from services.core.engine import Encoder, TokenIds
from services.core.queueing import Item
from services.core.schema import Usage
from services.core.tokenizer import Tokenizer
from services.tasks.classification.schema import Classification, ClassifyRequest, ClassifyResponse, LabelScore


class ClassifyPipeline:
    """Serves one classification model."""

    def __init__(self, model: str, labels: Sequence[str], tokenizer: Tokenizer, engine: Encoder) -> None:
        self._model = model
        self._labels = tuple(labels)
        self._tokenizer = tokenizer
        self._engine = engine

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Encoder) -> Self:
        """Serve ``spec`` from its artefact folder."""
        return cls(spec.id, spec.labels, Tokenizer(artefact / "tokenizer.json", spec.max_tokens, spec.id), engine)

    def prepare(self, request: ClassifyRequest) -> list[Item]:
        """One item per text; its cost is its tokens."""
        return [Item(ids, len(ids)) for ids in self._tokenizer.encode(request.text, request.truncate)]

    def run(self, payloads: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Label probabilities, ``[n, labels]``."""
        return softmax(self._engine.run(payloads))

    def finish(
        self, request: ClassifyRequest, items: Sequence[Item], outputs: Sequence[NDArray[np.float32]]
    ) -> ClassifyResponse:
        """Sort labels, keep ``top_k``."""
        return ClassifyResponse(
            model=self._model,
            results=tuple(self._ranked(scores, request.top_k) for scores in outputs),
            usage=Usage(tokens=sum(item.cost for item in items)),
        )

    def sample(self, cost: int) -> TokenIds:
        """Token ids of this many tokens, for timing the engine."""
        return np.arange(cost, dtype=np.int64) % 64

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _ranked(self, scores: NDArray[np.float32], top_k: int | None) -> Classification:
        # Stable, so that equal scores keep the label order of the catalog on every protocol.
        best = sorted(zip(scores.tolist(), self._labels, strict=True), key=lambda pair: -pair[0])[:top_k]
        return Classification(labels=tuple(LabelScore(label=label, score=score) for score, label in best))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of each row; safe for large logits."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True), dtype=np.float32)
