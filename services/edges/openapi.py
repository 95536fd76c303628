"""The OpenAPI document of a server: the routes that tasks are served at, from Task records and dialects."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from services.core.dialect import JSON, Dialect, UploadDialect
from services.core.task import Task
from services.edges import multipart
from services.edges.announce import example_body
from services.edges.events import MEDIA
from services.edges.native import Native, routes_of

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

_Shape = tuple[Any, JsonSchemaMode]
"""A record, and whether it is read or written."""

_HEADERS = [
    ("x-request-id", "string", "Echoed; made when absent."),
    ("x-request-timeout", "number", "Seconds the answer may take."),
    ("x-request-priority", "string", "`high`, `normal` or `low`: who goes first when work waits."),
]


def document(tasks: Sequence[Task], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    routes = [(task, dialect) for task in tasks for dialect in routes_of(task)]
    shapes = dict.fromkeys(shape for _, dialect in routes for shape in _shapes(dialect))
    schemas, definitions = TypeAdapter.json_schemas(
        [(*shape, TypeAdapter(shape[0])) for shape in shapes], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chorale", "version": version},
        "paths": {dialect.route: {"post": _operation(task, dialect, schemas)} for task, dialect in routes},
        "components": {"schemas": {**definitions.get("$defs", {}), "Error": _ERROR_SCHEMA}},
    }


def _shapes(dialect: Dialect) -> list[_Shape]:
    answers: list[_Shape] = [(answer, "serialization") for answer in (dialect.answer, dialect.event) if answer]
    return [(dialect.body, "validation"), *answers]


def _operation(task: Task, dialect: Dialect, schemas: Mapping[_Shape, dict[str, Any]]) -> dict[str, Any]:
    examples = {
        f"example-{number}": {"value": example_body(example)}
        for number, example in enumerate(task.examples, 1)
        if isinstance(example, dialect.body)
    }
    request = {"schema": schemas[dialect.body, "validation"], "examples": examples}
    answers = {dialect.media: dialect.answer, MEDIA: dialect.event}  # of a stream, the schema is one event's
    answer = {
        "description": _doc(dialect.answer or dialect.event),
        "content": {media: {"schema": schemas[record, "serialization"]} for media, record in answers.items() if record},
    }
    name = dialect.method.verb if isinstance(dialect, Native) else dialect.body.__name__
    bodies = {JSON: request}
    if isinstance(dialect, UploadDialect):
        bodies[multipart.MEDIA] = {"schema": request["schema"]}  # there, bytes are a file
    return {"operationId": name, **_post(task, _doc(dialect.body), bodies, answer)}


def _post(task: Task, summary: str, bodies: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What all routes have."""
    return {
        "tags": [task.name],
        "summary": summary,
        "parameters": [
            {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": kind}}
            for name, kind, text in _HEADERS
        ],
        "requestBody": {"required": True, "content": bodies},
        "responses": {
            "200": answer,
            "default": {
                "description": "An error.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }


def _doc(record: Any) -> str:
    return (record.__doc__ or "").strip()
