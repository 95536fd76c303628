"""Sequences on vLLM, each on its adapter."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

from services.core.adapters import Adapter
from services.core.context import Priority
from services.core.engine import EngineOptions, GeneratorLimits
from services.core.errors import OperatorError
from services.core.generation.records import Generation, Progress
from services.engines.vllm.adapters import Adapters

if TYPE_CHECKING:
    from services.engines.vllm.client import Client


class VllmEngine:
    """One model. `SelfScheduled`: its sequences are generated on one event loop."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._limits = client.limits
        self._adapters = Adapters(client, client.adapters)
        self._closed = False

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Start vLLM on the Hugging Face folder of an artefact; it takes the GPU that it finds."""
        try:
            from services.engines.vllm.client import Client
        except ModuleNotFoundError as error:
            raise OperatorError(f"engine vllm needs {error.name}: pip install 'chorale[vllm]'") from error
        return cls(Client.start(artefact, options))

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""
        return self._limits

    @property
    def alive(self) -> bool:
        """Whether vLLM is."""
        return self._client.alive

    def running(self, digest: str) -> int:
        """Sequences on this adapter."""
        return self._adapters.users(digest)

    async def generate(self, sequence: int, work: Generation, priority: Priority) -> AsyncGenerator[Progress]:
        """What comes of a sequence."""
        async with self._on(work.adapter) as number:
            coming = self._client.generate(sequence, work, priority, number)
            async with aclosing(coming):
                async for progress in coming:
                    yield progress

    def close(self) -> None:
        """End vLLM."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _on(self, adapter: Adapter | None) -> AbstractAsyncContextManager[int | None]:
        return self._adapters.using(adapter) if adapter else nullcontext()
