"""A task's own routes, as a dialect among others: bodies are its requests, answers its records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.core.bodies import read_body
from services.core.dialect import JSON, Call, Dialect
from services.core.forms import Form, read_form
from services.core.imports import load
from services.core.schema import Request, Response, bytes_field
from services.core.task import Kind, Method, Task


@dataclass(frozen=True, slots=True)
class Native:
    """One method, at its own route."""

    method: Method
    media: str = JSON

    @property
    def route(self) -> str:
        """The method's."""
        return self.method.route

    @property
    def body(self) -> type[Request]:
        """The method's request."""
        return self.method.request

    @property
    def answer(self) -> type[Response] | None:
        """The method's, unless it is streamed."""
        return self.method.response if self.method.kind is Kind.UNARY else None

    @property
    def event(self) -> type[Response] | None:
        """The method's, if it is streamed."""
        return self.method.response if self.method.kind is Kind.SERVER_STREAM else None

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, "NativeWriter"]:
        """The request, and how its answer is written."""
        return Call(self.method, (read_body(body, self.method.request),)), NativeWriter()


@dataclass(frozen=True, slots=True)
class NativeUpload(Native):
    """One method whose requests have a file."""

    def decode_form(self, form: Form, identity: str) -> tuple[Call, "NativeWriter"]:
        """As `decode`, of a form."""
        return Call(self.method, (read_form(form, self.method.request),)), NativeWriter()


def routes_of(task: Task) -> Iterator[Dialect]:
    """A task's own routes, and those in which it speaks like others."""
    for method in task.methods:
        if method.kind is not Kind.BIDI:
            yield NativeUpload(method) if bytes_field(method.request) else Native(method)
    yield from map(load, task.dialects)


class NativeWriter:
    """Writes records as they are: no second validation, no dictionary."""

    media = JSON

    def whole(self, answers: Sequence[Response]) -> bytes:
        """The one answer there is."""
        (answer,) = answers
        return to_json(answer)

    def part(self, part: Response) -> Iterable[bytes]:
        """An event of its own."""
        return (to_json(part),)

    def end(self) -> Iterable[bytes]:
        """Nothing."""
        return ()


def to_json(answer: Response) -> bytes:
    """An answer as JSON."""
    content: bytes = answer.__pydantic_serializer__.to_json(answer, exclude_none=True)
    return content
