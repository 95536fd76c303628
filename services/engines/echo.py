"""The echo engine: payloads come back as they are. Measures what the serving path itself costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from services.core.engine import EngineOptions


class EchoEngine:
    """No artefact, no work."""

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Nothing to open."""
        return cls()

    def run(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The same batch."""
        return batch

    def close(self) -> None:
        """Nothing to free."""
