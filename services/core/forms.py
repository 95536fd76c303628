"""Forms: a request as the parts of ``multipart/form-data``, one of them a file. Record fields from form fields.

    model=tiny    words[]=one    words[]=two    loud=true    data=<a file>
    request={"model": "tiny", "words": ["one", "two"], "loud": true}    data=<a file>

Knows records, and not how forms are read from the wire.
Source: RFC 7578; ``name[]`` for lists is what OpenAI's clients write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from services.core.errors import Code, ServingError, invalid, unknown_field
from services.core.schema import Record, bytes_field

RecordT = TypeVar("RecordT", bound=Record)

FILE = "file"
"""What the file may be called in any form."""

REQUEST = "request"
"""The form field that may have all fields of the record, as JSON."""

LISTED = "[]"

_WORDS = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}


@dataclass(frozen=True, slots=True)
class Form:
    """What a form brought.

    Args:
        fields: texts by name, each as often as it was given.
        file: of a large one a memoryview, which is not in memory.
        part: what the file was called in the form.
        filename: what it is called at its sender's; may be empty. Never a path to open.
        content_type: what its sender says it is; may be empty.
    """

    fields: Mapping[str, tuple[str, ...]]
    file: bytes | memoryview
    part: str = FILE
    filename: str = ""
    content_type: str = ""


def read_form(form: Form, record: type[RecordT]) -> RecordT:
    """The record that a form is; its file is the record's `Bytes` field.

    Raises:
        ServingError: INVALID_ARGUMENT that names the field.
    """
    name = bytes_field(record)
    if name is None:
        raise TypeError(f"{record.__name__} has no bytes")
    if form.part not in (name, FILE):
        raise unknown_field(form.part)
    fields = _from_json(form.fields) if REQUEST in form.fields else _from_texts(form.fields, record)
    if name in fields:
        raise ServingError(Code.INVALID_ARGUMENT, f"{name}: send it as a file, and only as a file", name)
    try:
        found: RecordT = record.__pydantic_validator__.validate_python({**fields, name: form.file})
    except ValidationError as error:
        raise invalid(error) from error
    return found


def _from_json(fields: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    if len(fields) > 1 or len(fields[REQUEST]) > 1:
        raise ServingError(Code.INVALID_ARGUMENT, f"{REQUEST}: give all fields in one of it, or none of it", REQUEST)
    try:
        found = _with_tuples(from_json(fields[REQUEST][0]))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ServingError(Code.INVALID_ARGUMENT, f"{REQUEST}: give a JSON object", REQUEST)
    return found


def _with_tuples(value: Any) -> Any:
    """Records take tuples; JSON has lists."""
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    if isinstance(value, dict):
        return {name: _with_tuples(one) for name, one in value.items()}
    return value


def _from_texts(fields: Mapping[str, tuple[str, ...]], record: type[Record]) -> dict[str, Any]:
    kinds = _kinds(record)
    found: dict[str, Any] = {}
    for given, texts in fields.items():
        name = given.removesuffix(LISTED)
        if name not in kinds:
            raise unknown_field(given)
        if name in found or (len(texts) > 1 and not kinds[name].is_list):
            raise ServingError(Code.INVALID_ARGUMENT, f"{name}: give it once", name)
        found[name] = kinds[name].read(name, texts)
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """What texts of one field mean."""

    is_list: bool
    types: frozenset[str]
    """JSON's names of what a value may be."""

    def read(self, name: str, texts: Sequence[str]) -> Any:
        values = tuple(self._value(name, text) for text in texts)
        return values if self.is_list else values[0]

    def _value(self, name: str, text: str) -> Any:
        if "string" in self.types:
            return text
        try:
            return _with_tuples(from_json(text))
        except ValueError:
            wanted = next((_WORDS[kind] for kind in self.types if kind in _WORDS), "JSON")
            message = f"{name}: give {wanted}; {text[:40]!r} is not"
            raise ServingError(Code.INVALID_ARGUMENT, message, name) from None


@cache
def _kinds(record: type[Record]) -> dict[str, _Kind]:
    schema = record.model_json_schema()
    return {name: _kind(one, schema) for name, one in schema["properties"].items()}


def _kind(schema: Mapping[str, Any], root: Mapping[str, Any]) -> _Kind:
    choices = _choices(schema, root)
    lists = [choice for choice in choices if choice.get("type") == "array"]
    values = [value for one in lists for value in _choices(one.get("items", {}), root)] if lists else choices
    return _Kind(bool(lists), frozenset(value.get("type", "object") for value in values) - {"null"})


def _choices(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if reference := schema.get("$ref"):
        return _choices(root["$defs"][reference.rpartition("/")[2]], root)
    if "anyOf" in schema:
        return [found for choice in schema["anyOf"] for found in _choices(choice, root)]
    return [schema]
