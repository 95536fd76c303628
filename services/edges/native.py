"""A task's own routes, as a dialect among others: bodies are its requests, answers its records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import from_json

from services.core.dialect import Call
from services.core.errors import invalid, unknown_field
from services.core.schema import Request, Response
from services.core.task import Method

_LARGE = 65_536


@dataclass(frozen=True, slots=True)
class Native:
    """One method, at its own route."""

    method: Method

    @property
    def route(self) -> str:
        """The method's."""
        return self.method.route

    @property
    def body(self) -> type[Request]:
        """The method's request."""
        return self.method.request

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, "NativeWriter"]:
        """The request, and how its answer is written."""
        return Call(self.method, (read_request(body, self.method.request),)), NativeWriter()


class NativeWriter:
    """Writes records as they are: no second validation, no dictionary."""

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


def read_request(body: bytes | bytearray, record: type[Request]) -> Request:
    """The request that a body is. Raises ServingError."""
    if len(body) > _LARGE:
        _refuse_unknown_fields(body, record)
    try:
        return record.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def _refuse_unknown_fields(body: bytes | bytearray, record: type[Request]) -> None:
    """Pydantic collects one error per unknown field: seconds, for a large body made of them. This finds the first."""
    try:
        fields = from_json(body)
    except ValueError:
        return  # the decoder proper says what is wrong
    if isinstance(fields, dict) and (
        unknown := next((name for name in fields if name not in record.model_fields), None)
    ):
        raise unknown_field(unknown)
