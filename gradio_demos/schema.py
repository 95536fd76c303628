"""What a JSON Schema says of one field of a request, in the few words widgets need. Knows no widget."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FieldType(StrEnum):
    """What kind of value a field takes."""

    TEXTS = "texts"
    """A text or a list of texts."""
    STRING = "string"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    BYTES = "bytes"
    """A file."""
    JSON = "json"
    """Anything else."""


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Args:
        name: as requests have it.
        type: what it takes.
        description: one sentence.
        required: whether a request must have it.
        default: what the server takes when it is left out; None if it says nothing.
        choices: of a CHOICE.
        media: of BYTES: what kind of file, such as ``audio/*``; empty if it is not said.
    """

    name: str
    type: FieldType
    description: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    media: str = ""

    @property
    def is_audio(self) -> bool:
        """Whether it is a recording."""
        return self.media.startswith("audio/")


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields of a request schema: those it requires first, then in its order."""
    required = set(schema.get("required", ()))
    fields = [
        _field(name, value if isinstance(value, Mapping) else {}, schema.get("$defs", {}), required=name in required)
        for name, value in schema.get("properties", {}).items()
    ]
    return tuple(sorted(fields, key=lambda field: not field.required))


def _field(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool) -> Field:
    choices = [_resolved(choice, definitions) for choice in schema.get("anyOf", [schema])]
    real = [choice for choice in choices if choice.get("type") != "null"]
    value = real[0] if real else {}
    return Field(
        name,
        _type(real),
        schema.get("description", ""),
        required,
        schema.get("default"),
        tuple(map(str, value.get("enum", ()))),
        value.get("contentMediaType", ""),
    )


def _resolved(choice: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(choice.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = definitions.get(name, choice)
    return found


def _type(choices: list[Mapping[str, Any]]) -> FieldType:
    match [choice.get("type") for choice in choices]:
        case ["string", "array"] if _is_string(choices[1].get("items")):
            return FieldType.TEXTS
        case ["string"]:
            return _string_type(choices[0])
        case ["boolean" | "integer" | "number" as kind]:
            return FieldType(kind)
    return FieldType.JSON


def _string_type(choice: Mapping[str, Any]) -> FieldType:
    if choice.get("format") == "byte":
        return FieldType.BYTES
    if "enum" not in choice:
        return FieldType.STRING
    return FieldType.CHOICE if all(isinstance(one, str) for one in choice["enum"]) else FieldType.JSON


def _is_string(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"
