"""JSON bodies -> records: what is wrong with one is an error that names the field."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from services.core.errors import invalid, unknown_field
from services.core.schema import Record

RecordT = TypeVar("RecordT", bound=Record)

_LARGE = 65_536


def read_body(body: bytes | bytearray, record: type[RecordT]) -> RecordT:
    """The record that a body is.

    Raises:
        ServingError: INVALID_ARGUMENT with the first problem.
    """
    if len(body) > _LARGE:
        _refuse_unknown_fields(body, record)
    try:
        return record.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def _refuse_unknown_fields(body: bytes | bytearray, record: type[Record]) -> None:
    """Pydantic collects one error per unknown field: seconds, for a large body made of them. This finds the first."""
    try:
        fields = from_json(body)
    except ValueError:
        return  # the decoder proper says what is wrong
    if isinstance(fields, dict) and (
        unknown := next((name for name in fields if name not in record.model_fields), None)
    ):
        raise unknown_field(unknown)
