"""Task: the record from which routes, RPCs, documentation, demos and load tests are made; and its discovery.

A task is a package that exports ``TASK``. Nothing else in the project lists tasks by name.
Knows nothing of protocols beyond the names they share, and imports no pipeline (see `Method.pipeline`).
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple

from typing_extensions import TypeVar

from services.core.schema import Request, Response

AnswerT_co = TypeVar("AnswerT_co", bound=Response, default=Response, covariant=True)


class Kind(StrEnum):
    """How messages flow in one call."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI = "bidi"


class Timed(NamedTuple):
    """A request of a live call, and when it is sent: seconds after the call has begun."""

    due: float
    request: Request


@dataclass(frozen=True)
class Method(Generic[AnswerT_co]):
    """One thing a task can do.

    Args:
        verb: RPC name in CamelCase, unique over all tasks (``Classify``).
        request: record of the request; its fields are the protobuf message's fields.
        response: record of the answer.
        pipeline: ``module:Class`` of the code that does it. A string, so that a gateway never imports tokenizers.
        kind: how messages flow.
        idempotent: whether answering twice does no harm; then a call whose replica died is sent to another.
        live_example: of a BIDI method: ``module:function`` that gives its `Timed` requests, the last of which is
            followed by an answer.
    """

    verb: str
    request: type[Request]
    response: type[AnswerT_co]
    pipeline: str
    kind: Kind = Kind.UNARY
    idempotent: bool = True
    live_example: str | None = None

    @property
    def route(self) -> str:
        """REST path: ``RecognizeEntities`` -> ``/v1/recognize-entities``."""
        return "/v1/" + re.sub(r"(?<!^)(?=[A-Z])", "-", self.verb).lower()


@dataclass(frozen=True)
class Task:
    """What a task is called, what it does, and example requests for documentation, demos and tests.

    Args:
        name: folder, protobuf package, catalog file and Serve application.
        methods: what it can do.
        examples: requests that work on the default model.
        grpc_port: the task's own gRPC lane, above 9000; see `Settings.lane_port`.
        evaluation: ``module:function`` that scores a model, for ``chorale eval``.
        opt_in: served only when named in ``CHORALE_TASKS``.
        dialects: ``module:NAME`` of each `Dialect` in which it is served as well.
    """

    name: str
    methods: tuple[Method, ...]
    examples: tuple[Request, ...]
    grpc_port: int
    evaluation: str | None = None
    opt_in: bool = False
    dialects: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """Full name of the gRPC service: ``chorale.classification.v1.ClassificationService``."""
        return f"chorale.{self.name}.v1.{self.name.title().replace('_', '')}Service"

    @property
    def protobuf(self) -> str:
        """Module of the generated messages."""
        return f"services.pb.chorale.{self.name}.v1.{self.name}_pb2"

    def rpc(self, method: Method) -> str:
        """Path of a method on the wire: ``/chorale.classification.v1.ClassificationService/Classify``."""
        return f"/{self.service}/{method.verb}"


def discover(
    packages: Iterable[str] = ("services.tasks",), only: Sequence[str] = (), *, opt_in: bool = False
) -> tuple[Task, ...]:
    """The ``TASK`` of every sub-package of ``packages``, by name; with ``only``, just those named.

    Args:
        packages: where to look.
        only: names.
        opt_in: those that are served only when named, too.

    Raises:
        ValueError: two tasks share a name, a verb or a port, or ``only`` names an unknown task.
    """
    found = [task for package in packages for task in _tasks_in(package)]
    for what in ("name", "grpc_port"):
        _refuse_duplicates(what, [str(getattr(task, what)) for task in found])
    _refuse_duplicates("verb", [method.verb for task in found for method in task.methods])
    known = {task.name: task for task in found}
    if unknown := set(only) - set(known):
        raise ValueError(f"unknown task {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    chosen = (
        [known[name] for name in dict.fromkeys(only)] if only else [task for task in found if opt_in or not task.opt_in]
    )
    return tuple(sorted(chosen, key=lambda task: task.name))


def _tasks_in(package: str) -> list[Task]:
    path = importlib.import_module(package).__path__
    modules = (
        importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(path) if found.ispkg
    )
    return [task for module in modules if isinstance(task := getattr(module, "TASK", None), Task)]


def _refuse_duplicates(what: str, values: list[str]) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"two tasks have the same {what}: {', '.join(twice)}")
