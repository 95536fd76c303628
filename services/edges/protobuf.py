"""Records <-> protobuf messages, by field name.

A record and its message have the same field names (a contract test holds them to it), so no task writes a
conversion. Unset protobuf fields are left out, so that the record's own defaults and errors apply.
"""

import importlib
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from pydantic import ValidationError

from services.core.errors import Code, ServingError, invalid
from services.core.schema import Record, Request
from services.core.task import Task

RequestT = TypeVar("RequestT", bound=Request)
RecordT = TypeVar("RecordT", bound=Record)


def message_class(task: Task, record: type[Record]) -> type[Message]:
    """The generated class of a record: the message of the same name in the task's package."""
    module = importlib.import_module(task.protobuf)
    found: type[Message] = getattr(module, record.__name__)
    return found


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


def read(data: bytes, message_class: type[Message], record: type[RecordT]) -> RecordT:
    """Wire bytes -> the record of an answer. Zeros are values here, and what a newer server adds is left alone.

    Raises:
        ServingError: INTERNAL; the answer is none.
    """
    try:
        fields = _plain(message_class.FromString(data), zeros=True)
        return record.model_validate(fields)
    except (DecodeError, ValidationError) as error:
        raise ServingError(Code.INTERNAL, f"The server's answer is no {record.__name__}.") from error


def encode(record: Record, message_class: type[Message]) -> bytes:
    """Record -> wire bytes."""
    # The serializer itself, as on REST: model_dump around it costs as much again for a small record.
    fields = record.__pydantic_serializer__.to_python(record, exclude_none=True)
    return message_class(**fields).SerializeToString()


def _plain(message: Message, *, zeros: bool = False) -> dict[str, Any]:
    """Set fields by name; repeated ones as tuples even when empty, since protobuf cannot tell absent from empty.

    With ``zeros``, so are numbers and strings of which it cannot tell either.
    """
    empty, readers = _shape(message.DESCRIPTOR, zeros)
    plain = empty.copy()
    for field, value in message.ListFields():
        name, read = readers[field.number]
        plain[name] = read(value) if read else value
    return plain


_Reader = Callable[[Any], Any]


@cache
def _shape(descriptor: Descriptor, zeros: bool) -> tuple[dict[str, Any], dict[int, tuple[str, _Reader | None]]]:
    """A message without a field set, and by number each field's name and how its value is read.

    Asked once: a descriptor answers each question with a new object.
    """
    repeated = (field for field in descriptor.fields if field.is_repeated)
    empty: dict[str, Any] = {field.name: {} if _is_map(field) else () for field in repeated}
    if zeros:
        silent = (field for field in descriptor.fields if not (field.is_repeated or field.has_presence))
        empty |= {field.name: field.default_value for field in silent}
    return empty, {field.number: (field.name, _reader(field, zeros)) for field in descriptor.fields}


def _reader(field: FieldDescriptor, zeros: bool) -> _Reader | None:
    if _is_map(field):
        return dict  # of scalars
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        one = partial(_plain, zeros=zeros)
        return partial(_plain_all, one) if field.is_repeated else one
    return tuple if field.is_repeated else None


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _plain_all(one: _Reader, messages: Iterable[Message]) -> tuple[dict[str, Any], ...]:
    return tuple(map(one, messages))
