"""What an engine is to the rest of the project: a small protocol per capability.

An engine runs one artefact on one kind of hardware. It knows tensors and batches; it does not know texts, labels,
requests, queues or protocols. ``run`` may be called from several threads at once (see `Batcher` lanes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int64]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """Hardware an engine may use.

    Args:
        threads: threads inside one run. Several lanes of one thread beat one lane of many on a CPU.
        providers: onnxruntime execution providers, best first.
    """

    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


class Engine(Protocol):
    """What all engines share."""

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open the artefact in this folder; ready to run when it returns."""

    def close(self) -> None:
        """Free what the artefact holds. No run is under way, and none follows; closing again does nothing."""


@runtime_checkable
class Encoder(Engine, Protocol):
    """Token ids in, one row of logits per item out."""

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        """``batch``: n arrays of token ids of any lengths. Returns float32 ``[n, labels]``."""


@runtime_checkable
class Echo(Engine, Protocol):
    """Payloads in, the same payloads out: what the serving path itself costs."""

    def run(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Returns ``batch``."""
