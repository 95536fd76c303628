"""Records <-> protobuf messages, by field name.

A record and its message have the same field names (a contract test holds them to it), so no task writes a
conversion. Unset protobuf fields are left out, so that the record's own defaults and errors apply.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from pydantic import ValidationError

from services.core.errors import Code, ServingError, invalid
from services.core.schema import Record, Request

RequestT = TypeVar("RequestT", bound=Request)


def decode(data: bytes, message_class: type[Message], record: type[RequestT]) -> RequestT:
    """Wire bytes -> validated record.

    Raises:
        ServingError: INVALID_ARGUMENT for bytes that are no such message, unknown fields, or a failed validation.
    """
    try:
        message = message_class.FromString(data)
    except DecodeError:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"The message is not a valid {message_class.DESCRIPTOR.full_name}."
        ) from None
    if unknown := UnknownFieldSet(message):
        name = message_class.DESCRIPTOR.full_name
        raise ServingError(
            Code.INVALID_ARGUMENT, f"{name} has no field {unknown[0].field_number}; remove it or update the client."
        )
    try:
        return cast("RequestT", record.__pydantic_validator__.validate_python(_plain(message)))
    except ValidationError as error:
        raise invalid(error) from error


def encode(record: Record, message_class: type[Message]) -> bytes:
    """Record -> wire bytes."""
    # The serializer itself, as on REST: model_dump around it costs as much again for a small record.
    fields = record.__pydantic_serializer__.to_python(record, exclude_none=True)
    return message_class(**fields).SerializeToString()


def json_body(record: Record) -> dict[str, Any]:
    """A record as protobuf's own JSON, which tools like grpcurl take: a list stays a list."""
    return record.model_dump(mode="json", exclude_unset=True)


def _plain(message: Message) -> dict[str, Any]:
    """Set fields by name; repeated ones as tuples even when empty, since protobuf cannot tell absent from empty."""
    empty, readers = _shape(message.DESCRIPTOR)
    plain = empty.copy()
    for field, value in message.ListFields():
        name, read = readers[field.number]
        plain[name] = read(value) if read else value
    return plain


@cache
def _shape(descriptor: Descriptor) -> tuple[dict[str, Any], dict[int, tuple[str, Callable[[Any], Any] | None]]]:
    """A message without a field set, and by number each field's name and how its value is read.

    Asked once: a descriptor answers each question with a new object.
    """
    empty = {field.name: () for field in descriptor.fields if field.is_repeated}
    return empty, {field.number: (field.name, _reader(field)) for field in descriptor.fields}


def _reader(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _plain_all if field.is_repeated else _plain
    return tuple if field.is_repeated else None


def _plain_all(messages: Iterable[Message]) -> tuple[dict[str, Any], ...]:
    return tuple(map(_plain, messages))
