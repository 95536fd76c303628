"""What a server says about itself: its tasks and models, from Task records and the catalog."""

from collections.abc import Sequence
from typing import Any

from services.core.adapters import Adapter, AdapterLibrary
from services.core.catalog import Catalog, ModelSpec
from services.core.imports import load
from services.core.schema import Request
from services.core.task import Task
from services.edges.cards import MethodCard, ModelCard, ScoreCard, TaskCard


def tasks(tasks: Sequence[Task], catalog: Catalog) -> dict[str, Any]:
    """Body of ``GET /v1/tasks``."""
    return {"tasks": [_task(task, catalog).model_dump() for task in tasks]}


def models(catalog: Catalog, adapters: Sequence[Adapter] = ()) -> dict[str, Any]:
    """Body of ``GET /v1/models``: OpenAI's shape, and what else there is to know of a model. Adapters come last."""
    bases = {spec.id: spec for spec in catalog.specs if spec.max_adapter_rank}
    cards = [_model(spec) for spec in catalog.specs]
    cards += [_adapter(adapter, bases[adapter.base]) for adapter in adapters if adapter.base in bases]
    return {"object": "list", "data": [card.model_dump() for card in cards]}


def model(asked: str, catalog: Catalog, library: AdapterLibrary) -> dict[str, Any]:
    """Body of ``GET /v1/models/<id>``: the item of that list which a request for this model would get.

    Raises:
        ServingError: NOT_FOUND, or what such a request would be told.
    """
    spec = catalog.find(asked)
    adapter = library.asked(spec.id, asked)
    return (_adapter(adapter, spec) if adapter else _model(spec)).model_dump()


def example_body(request: Request) -> dict[str, Any]:
    """An example as a client would send it: only what it sets."""
    body = request.model_dump(mode="json", exclude_unset=True)
    # One text is written as a string, as people write it.
    return {name: value[0] if name == "text" and len(value) == 1 else value for name, value in body.items()}


def _task(task: Task, catalog: Catalog) -> TaskCard:
    methods = [
        MethodCard(
            verb=method.verb,
            kind=method.kind,
            idempotent=method.idempotent,
            route=method.route,
            rpc=task.rpc(method),
            request_schema=method.request.model_json_schema(),
            response_schema=method.response.model_json_schema(mode="serialization"),
        )
        for method in task.methods
    ]
    return TaskCard(
        name=task.name,
        methods=tuple(methods),
        examples=tuple(map(example_body, task.examples)),
        models=tuple(spec.id for spec in catalog.of(task.name)),
        dialects=tuple(load(path).route for path in task.dialects),
    )


def _model(spec: ModelSpec) -> ModelCard:
    return ModelCard(
        id=spec.id,
        root=spec.id,
        task=spec.task,
        default=spec.default,
        description=spec.description,
        licence=spec.licence,
        scores=tuple(ScoreCard(**score.model_dump()) for score in spec.scores),
    )


def _adapter(adapter: Adapter, base: ModelSpec) -> ModelCard:
    description = f"Adapter of rank {adapter.rank}."
    return ModelCard(id=adapter.id, root=base.id, parent=base.id, task=base.task, description=description)
