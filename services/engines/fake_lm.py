"""A generator for tests: deterministic, and honest about its cache.

What it says next follows from all tokens of the sequence as they stand in its blocks, and from the adapter they were
computed on. So a block that is shared, lost or overwritten by mistake changes the answer.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from services.core.adapters import Adapter
from services.core.engine import Chunk, EngineOptions, GeneratorLimits, Logits


class FakeGenerator:
    """Has a cache of real blocks, of tokens instead of keys and values."""

    def __init__(self, limits: GeneratorLimits) -> None:
        self._limits = limits
        self._cache = [[(-1, "")] * limits.block_tokens for _ in range(limits.blocks)]
        self.live: set[int] = set()
        """Sequences that were in a step and have not been released."""

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Needs no artefact."""
        return cls(GeneratorLimits(context=256, vocabulary=300, sequences=4, blocks=64, block_tokens=8))

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""
        return self._limits

    def ready(self, adapter: Adapter) -> bool:
        """Adapters need no loading."""
        return True

    def running(self, digest: str) -> int:
        """Nobody asks who uses what."""
        return 0

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """The token that follows is far more probable than all others, which differ."""
        for chunk in chunks:
            self.live.add(chunk.sequence)
            for place, token in enumerate(chunk.tokens, chunk.start):
                self._block(chunk, place)[place % self._limits.block_tokens] = (token, _digest(chunk.adapter))
        return np.array([self._logits(chunk) for chunk in chunks if chunk.ends], dtype=np.float32)

    def release(self, sequence: int) -> None:
        """Forget it."""
        self.live.discard(sequence)

    def close(self) -> None:
        """Nothing to free."""

    def _block(self, chunk: Chunk, place: int) -> list[tuple[int, str]]:
        return self._cache[chunk.blocks[place // self._limits.block_tokens]]

    def _logits(self, chunk: Chunk) -> list[float]:
        end = chunk.start + len(chunk.tokens)
        seen = [self._block(chunk, place)[place % self._limits.block_tokens] for place in range(end)]
        following = int.from_bytes(hashlib.sha256(repr(seen).encode()).digest()[:8], "big")
        logits = np.linspace(0.0, 1.0, self._limits.vocabulary)
        logits[following % self._limits.vocabulary] = 12.0
        return list(logits)


def _digest(adapter: Adapter | None) -> str:
    return adapter.digest if adapter else ""
