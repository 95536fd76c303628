"""Dialects: REST routes in the shape of somebody else's API, so that its clients work here unchanged.

A dialect belongs to a task, and turns bodies into requests of the task's own methods and their answers into bodies. It
does not read, call, stream or fail by itself: an edge does, the same way as for the task's own routes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from services.core.errors import OperatorError
from services.core.forms import Form
from services.core.imports import load
from services.core.schema import Request, Response
from services.core.task import Kind, Method, Task

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """What a body turned out to ask for.

    Args:
        method: what is called; a streamed one, where the answer is to come in parts.
        requests: what it is asked; several are answered together, each by itself. A streamed one is asked one.
    """

    method: Method
    requests: tuple[Request, ...]

    @property
    def is_streamed(self) -> bool:
        """Whether the answer comes in parts."""
        return self.method.kind is Kind.SERVER_STREAM


class Writer(Protocol):
    """Writes the answer to one call, whole or in parts."""

    @property
    def media(self) -> str:
        """Content type of the whole answer."""

    def whole(self, answers: Sequence[Response]) -> bytes:
        """The body of an answer; there is one for each request."""

    def part(self, part: Response) -> Iterable[bytes]:
        """The events that tell of a part."""

    def end(self) -> Iterable[bytes]:
        """The events after the last part."""


class Dialect(Protocol):
    """One route."""

    @property
    def route(self) -> str:
        """REST path, such as ``/v1/chat/completions``."""

    @property
    def method(self) -> Method:
        """What its calls are, unless a body asks for the same in parts."""

    @property
    def body(self) -> type[BaseModel]:
        """What bodies are, for documentation."""

    @property
    def answer(self) -> type[Any] | None:
        """What whole answers are, for documentation; None where all are streamed."""

    @property
    def event(self) -> type[Any] | None:
        """What the events of streamed answers are, for documentation; None where none are."""

    @property
    def media(self) -> str:
        """Content type of whole answers, for documentation; a call's `Writer` says what its answer's is."""

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, Writer]:
        """What a body asks for, and who writes the answer to the call of this id. Raises ServingError."""


@runtime_checkable
class UploadDialect(Dialect, Protocol):
    """One whose bodies may be forms with a file as well."""

    def decode_form(self, form: Form, identity: str) -> tuple[Call, Writer]:
        """As `decode`, of a form."""


def refuse_shared_routes(tasks: Iterable[Task]) -> None:
    """Make sure that each route, of methods and dialects, belongs to one task.

    Raises:
        OperatorError: one does not; names it, and both tasks.
        ValueError: a task names a dialect that is not there.
    """
    owners: dict[str, str] = {}
    for task in tasks:
        for route in (*(method.route for method in task.methods), *(load(path).route for path in task.dialects)):
            if route in owners:
                raise OperatorError(
                    f"tasks {owners[route]} and {task.name} both have the route {route}; "
                    "leave one of them out of CHORALE_TASKS"
                )
            owners[route] = task.name
