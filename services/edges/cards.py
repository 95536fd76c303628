"""What a server announces of its tasks and models, as both sides know it: servers write it, clients read it."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Card(BaseModel):
    # A client may be older than its server: what it does not know it leaves alone.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class MethodCard(_Card):
    """One method of a task; schemas are JSON Schema."""

    verb: str
    kind: str
    idempotent: bool = False
    route: str
    rpc: str
    request_schema: dict[str, Any]
    response_schema: dict[str, Any]


class TaskCard(_Card):
    """One task: an item of ``GET /v1/tasks``. Examples are request bodies.

    Dialects are further routes, in the shapes of other APIs: the OpenAPI document has their schemas.
    """

    name: str
    methods: tuple[MethodCard, ...]
    examples: tuple[dict[str, Any], ...]
    models: tuple[str, ...]
    dialects: tuple[str, ...] = ()


class ScoreCard(_Card):
    """A measured score, with the command that measured it."""

    dataset: str
    metric: str
    value: float
    command: str


class ModelCard(_Card):
    """One model, or one adapter of it: an item of ``GET /v1/models``. The first four are OpenAI's.

    ``root`` and ``parent`` are as vLLM has them: of an adapter the parent is its base; what has none is a base.
    """

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "chorale"
    root: str | None = None
    parent: str | None = None
    task: str
    default: bool = False
    description: str = ""
    licence: str = ""
    scores: tuple[ScoreCard, ...] = ()
