"""Records <-> protobuf messages, by field name.

A record and its message have the same field names (a contract test holds them to it), so no task writes a
conversion. Unset protobuf fields are left out, so that the record's own defaults and errors apply.
"""

from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
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
        return record.model_validate(_plain(message))
    except ValidationError as error:
        raise invalid(error) from error


def encode(record: Record, message_class: type[Message]) -> bytes:
    """Record -> wire bytes."""
    return message_class(**record.model_dump(exclude_none=True)).SerializeToString()


def json_body(record: Record) -> dict[str, Any]:
    """A record as protobuf's own JSON, which tools like grpcurl take: a list stays a list."""
    return record.model_dump(mode="json", exclude_unset=True)


def _plain(message: Message) -> dict[str, Any]:
    """Set fields by name; repeated ones as tuples even when empty, since protobuf cannot tell absent from empty."""
    plain: dict[str, Any] = {field.name: () for field in message.DESCRIPTOR.fields if field.is_repeated}
    plain.update((field.name, _value(field, value)) for field, value in message.ListFields())
    return plain


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return tuple(_plain(item) for item in value) if field.is_repeated else _plain(value)
    return tuple(value) if field.is_repeated else value
