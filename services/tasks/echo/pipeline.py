"""Echo: items are texts, their cost is their characters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from services.core.catalog import ModelSpec
from services.core.engine import Echo
from services.core.queueing import Item
from services.tasks.echo.schema import EchoPart, EchoRequest, EchoResponse, EchoResult


class EchoPipeline:
    """Serves the echo model."""

    def __init__(self, model: str, engine: Echo) -> None:
        self._model = model
        self._engine = engine

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Echo) -> Self:
        """Serve ``spec``."""
        return cls(spec.id, engine)

    def prepare(self, request: EchoRequest) -> list[Item]:
        """One item per text."""
        return [Item(text, len(text)) for text in request.text]

    def run(self, payloads: Sequence[str]) -> Sequence[str]:
        """The same texts."""
        return self._engine.run(payloads)

    def finish(self, request: EchoRequest, items: Sequence[Item], outputs: Sequence[str]) -> EchoResponse:
        """Wrap the texts."""
        return EchoResponse(model=self._model, results=tuple(EchoResult(text=text) for text in outputs))

    def part(self, request: EchoRequest, items: Sequence[Item], index: int, output: str) -> EchoPart:
        """Wrap one text."""
        return EchoPart(model=self._model, text=output)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()
