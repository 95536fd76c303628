"""What a server says about itself: tasks, models and the OpenAPI document, all from Task records and the catalog."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.core.adapters import Adapter
from services.core.catalog import Catalog, ModelSpec
from services.core.dialect import Dialect
from services.core.imports import load
from services.core.schema import Request
from services.core.task import Kind, Method, Task
from services.edges.cards import MethodCard, ModelCard, ScoreCard, TaskCard
from services.edges.events import MEDIA

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "request_id"],
            "properties": {
                "message": {"type": "string", "description": "One sentence saying what to do."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"type": "string"},
                "request_id": {"type": ["string", "null"], "description": "Null where no server saw the request."},
            },
        }
    },
}

_HEADERS = [
    ("x-request-id", "string", "Echoed; made when absent."),
    ("x-request-timeout", "number", "Seconds the answer may take."),
    ("x-request-priority", "string", "`high`, `normal` or `low`: who goes first when work waits."),
]


def tasks(tasks: Sequence[Task], catalog: Catalog) -> dict[str, Any]:
    """Body of ``GET /v1/tasks``."""
    return {"tasks": [_task(task, catalog).model_dump() for task in tasks]}


def models(catalog: Catalog, adapters: Sequence[Adapter] = ()) -> dict[str, Any]:
    """Body of ``GET /v1/models``: OpenAI's shape, and what else there is to know of a model. Adapters come last."""
    bases = {spec.id: spec for spec in catalog.specs if spec.max_adapter_rank}
    cards = [_model(spec) for spec in catalog.specs]
    cards += [_adapter(adapter, bases[adapter.base]) for adapter in adapters if adapter.base in bases]
    return {"object": "list", "data": [card.model_dump() for card in cards]}


def openapi(tasks: Sequence[Task], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    methods = [(task, method) for task in tasks for method in task.methods]
    dialects = [(task, load(path)) for task in tasks for path in task.dialects]
    records = [(m.request, "validation") for _, m in methods] + [(m.response, "serialization") for _, m in methods]
    records += [(dialect.body, "validation") for _, dialect in dialects]
    _, definitions = models_json_schema(records, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas = {**definitions.get("$defs", {}), "Error": _ERROR_SCHEMA}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chorale", "version": version},
        "paths": {method.route: {"post": _operation(task, method)} for task, method in methods}
        | {dialect.route: {"post": _foreign(task, dialect)} for task, dialect in dialects},
        "components": {"schemas": schemas},
    }


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


def _operation(task: Task, method: Method) -> dict[str, Any]:
    examples = {
        f"example-{number}": {"value": example_body(example)}
        for number, example in enumerate(task.examples, 1)
        if isinstance(example, method.request)
    }
    request = {**_schema(method.request.__name__), "examples": examples}
    media = "application/json" if method.kind is Kind.UNARY else MEDIA  # of a stream, the schema is one event's
    answer = {"description": _doc(method.response), "content": {media: _schema(method.response.__name__)}}
    return {"operationId": method.verb, **_post(task, _doc(method.request), request, answer)}


def _foreign(task: Task, dialect: Dialect) -> dict[str, Any]:
    name = dialect.body.__name__
    answer = {"description": "As that API has it.", "content": {"application/json": {}, MEDIA: {}}}
    return {"operationId": name, **_post(task, _doc(dialect.body), _schema(name), answer)}


def _post(task: Task, summary: str, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What all routes have."""
    return {
        "tags": [task.name],
        "summary": summary,
        "parameters": [
            {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": kind}}
            for name, kind, text in _HEADERS
        ],
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": answer,
            "default": {"description": "An error.", "content": {"application/json": _schema("Error")}},
        },
    }


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _doc(record: type[BaseModel]) -> str:
    return (record.__doc__ or "").strip()
