"""A deterministic encoder for tests: same tokens, same logits, on any machine, with nothing to download.

Refused by ``chorale serve`` and ``chorale bench``: its scores mean nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from services.core.engine import EngineOptions, Logits, TokenIds


class FakeEncoder:
    """Logits are sums of sines of the token ids: they depend on every token and on nothing else."""

    LABELS = 2

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Nothing to open."""
        return cls()

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        """float32 ``[n, 2]``; an item's row does not depend on the batch it is in."""
        frequencies = np.arange(1, self.LABELS + 1)
        return np.stack([np.sin(np.outer(frequencies, ids)).sum(axis=1) for ids in batch]).astype(np.float32)

    def close(self) -> None:
        """Nothing to free."""
