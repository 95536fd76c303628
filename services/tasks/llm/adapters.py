"""Loading and unloading adapters while their base serves: requests that change the adapter library.

Every process that shares the library sees the change with its next look-up. What runs goes on: engines hold what they
have loaded until nothing uses it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Generic, Self, TypeVar

from services.core.adapters import (
    AdapterLibrary,
    AdapterUse,
    BaseShapes,
    check_adapter,
    linear_shapes,
    refuse_without,
    within,
)
from services.core.catalog import ModelSpec
from services.core.errors import Code, ServingError
from services.core.queueing import Item
from services.core.schema import Response
from services.tasks.llm.adapter_schema import (
    AdapterRequest,
    LoadAdapterRequest,
    LoadAdapterResponse,
    UnloadAdapterRequest,
    UnloadAdapterResponse,
)

RequestT = TypeVar("RequestT", bound=AdapterRequest)
ResponseT = TypeVar("ResponseT", bound=Response)


class _AdapterPipeline(ABC, Generic[RequestT, ResponseT]):
    """Serves one base model; the change itself runs on a lane, since it reads and writes files."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    @abstractmethod
    def change(self, request: RequestT) -> ResponseT:
        """Do what is asked. Raises ServingError."""

    def prepare(self, request: RequestT) -> list[Item]:
        """One item."""
        if not self._spec.max_adapter_rank:
            raise ServingError(Code.INVALID_ARGUMENT, f"{self._spec.id} takes no adapters; choose a base.", "model")
        return [Item(request, 1)]

    def run(self, payloads: Sequence[RequestT]) -> list[ResponseT | ServingError]:
        """Do one after the other. Errors are results: a batch that raises is run again, and this is not repeatable."""
        return [self._outcome(request) for request in payloads]

    def _outcome(self, request: RequestT) -> ResponseT | ServingError:
        try:
            return self.change(request)
        except ServingError as error:
            return error

    def finish(self, request: RequestT, items: Sequence[Item], outputs: Sequence[ResponseT]) -> ResponseT:
        """The answer is the output."""
        return outputs[0]

    def close(self) -> None:
        """Nothing: the engine is freed by the pipeline that generates."""


class LoadAdapterPipeline(_AdapterPipeline[LoadAdapterRequest, LoadAdapterResponse]):
    """Takes adapters in."""

    def __init__(self, spec: ModelSpec, shapes: BaseShapes, library: AdapterLibrary | None) -> None:
        super().__init__(spec)
        self._library = library
        self._check = partial(check_adapter, base=spec.id, shapes=shapes, max_rank=spec.max_adapter_rank)

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: AdapterUse, adapters: AdapterLibrary | None = None) -> Self:
        """Serve ``spec`` from its artefact folder; ``adapters`` comes with models that take some."""
        return cls(spec, linear_shapes(artefact) if adapters else {}, adapters)

    def change(self, request: LoadAdapterRequest) -> LoadAdapterResponse:
        """Check the adapter and take it into the library."""
        library = _given(self._library)
        source = within(request.path, library.roots)
        adapter, already = library.add(
            self._spec.id, request.name, source, request.version, self._check, replace=request.load_inplace
        )
        return LoadAdapterResponse(
            model=self._spec.id, adapter=adapter.id, digest=adapter.digest, rank=adapter.rank, already=already
        )


class UnloadAdapterPipeline(_AdapterPipeline[UnloadAdapterRequest, UnloadAdapterResponse]):
    """Takes adapters away."""

    def __init__(self, spec: ModelSpec, use: AdapterUse, library: AdapterLibrary | None) -> None:
        super().__init__(spec)
        self._use = use
        self._library = library

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: AdapterUse, adapters: AdapterLibrary | None = None) -> Self:
        """Serve ``spec``; ``adapters`` comes with models that take some."""
        return cls(spec, engine, adapters)

    def change(self, request: UnloadAdapterRequest) -> UnloadAdapterResponse:
        """Take it out of the library, if nothing runs on it here."""
        library, asked = _given(self._library), (self._spec.id, request.name, request.version)
        refuse_without(library.roots)
        going = library.versions(*asked)
        running = sum(map(self._use.running, {adapter.digest for adapter in going}))
        if running and not request.force:
            raise ServingError(
                Code.CONFLICT,
                f"{running} sequences run on {request.name!r}; retry when they have ended, or set force.",
                "name",
            )
        library.remove(*asked)
        return UnloadAdapterResponse(
            model=self._spec.id, adapters=tuple(adapter.id for adapter in going), running=running
        )


def _given(library: AdapterLibrary | None) -> AdapterLibrary:
    """What `prepare` made sure of."""
    if library is None:
        raise ServingError(Code.UNAVAILABLE, "There is no adapter library here; ask the server itself.")
    return library
