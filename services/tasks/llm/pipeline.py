"""Text generation: a request -> one generation for each answer, and what comes of them -> an answer or its parts.

The generations run elsewhere (`services.core.generation`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from services.core.adapters import Adapter, AdapterLibrary
from services.core.catalog import ModelSpec
from services.core.engine import AnyGenerator
from services.core.errors import Code, ServingError
from services.core.generation.records import Generation
from services.core.queueing import Item
from services.tasks.llm.planning import Planner
from services.tasks.llm.reading import Delta
from services.tasks.llm.schema import Choice, GeneratePart, GenerateRequest, GenerateResponse, GenerationUsage
from services.tasks.llm.vocabulary import Vocabulary


class GeneratePipeline:
    """Serves one language model, and its adapters if there are any."""

    def __init__(
        self, spec: ModelSpec, vocabulary: Vocabulary, engine: AnyGenerator, adapters: AdapterLibrary | None = None
    ) -> None:
        self._model = spec.id
        self._engine = engine
        self._adapters = adapters
        self._planner = Planner(spec, vocabulary, engine.limits)

    @classmethod
    def load(
        cls, spec: ModelSpec, artefact: Path, engine: AnyGenerator, adapters: AdapterLibrary | None = None
    ) -> Self:
        """Serve ``spec`` from its artefact folder; ``adapters`` comes with models that take some."""
        return cls(spec, Vocabulary.load(artefact, engine.limits.vocabulary), engine, adapters)

    @property
    def generator(self) -> AnyGenerator:
        """What computes the generations."""
        return self._engine

    def prepare(self, request: GenerateRequest) -> list[Item]:
        """One item for each answer; its cost is its tokens, those that may come included."""
        generations = self._planner.plan(request, self._adapter(request.model))
        return [Item(one, len(one.prompt) + one.max_tokens) for one in generations]

    def finish(
        self, request: GenerateRequest, items: Sequence[Item], outputs: Sequence[Sequence[Delta]]
    ) -> GenerateResponse:
        """Join what came of each answer."""
        return GenerateResponse(
            model=self._served(items[0]),
            choices=tuple(map(_choice, outputs)),
            usage=_usage([delta for deltas in outputs for delta in deltas]),
        )

    def part(self, request: GenerateRequest, items: Sequence[Item], index: int, output: Delta) -> GeneratePart:
        """What is new of one answer."""
        return GeneratePart(
            model=self._served(items[index]),
            index=index,
            text=output.text,
            finish_reason=output.finish_reason,
            logprobs=output.logprobs,
            usage=_usage([output]),
        )

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _adapter(self, model: str | None) -> Adapter | None:
        if self._adapters is not None:
            return self._adapters.asked(self._model, model)
        _, colon, wanted = (model or "").partition(":")
        if colon:
            raise ServingError(Code.NOT_FOUND, f"{self._model} has no adapters; leave out :{wanted}.", "model")
        return None

    def _served(self, item: Item) -> str:
        generation: Generation = item.payload
        return generation.adapter.id if generation.adapter else self._model


def _choice(deltas: Sequence[Delta]) -> Choice:
    return Choice(
        text="".join(delta.text for delta in deltas),
        finish_reason=deltas[-1].finish_reason or "length",
        logprobs=tuple(logprob for delta in deltas for logprob in delta.logprobs),
    )


def _usage(deltas: Sequence[Delta]) -> GenerationUsage:
    prompt, generated = sum(delta.prompt_tokens for delta in deltas), sum(delta.tokens for delta in deltas)
    return GenerationUsage(
        tokens=prompt + generated,
        prompt_tokens=prompt,
        cached_tokens=sum(delta.cached_tokens for delta in deltas),
        completion_tokens=generated,
    )
