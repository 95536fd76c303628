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
    """

    name: str
    type: FieldType
    description: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


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
    )


def _resolved(choice: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(choice.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = definitions.get(name, choice)
    return found


def _type(choices: list[Mapping[str, Any]]) -> FieldType:
    match [choice.get("type") for choice in choices]:
        case ["string", "array"] if _is_string(choices[1].get("items")):
            return FieldType.TEXTS
        case ["string"] if all(isinstance(choice, str) for choice in choices[0].get("enum", ())):
            return FieldType.CHOICE if "enum" in choices[0] else FieldType.STRING
        case ["boolean"]:
            return FieldType.BOOLEAN
        case ["integer"]:
            return FieldType.INTEGER
        case ["number"]:
            return FieldType.NUMBER
    return FieldType.JSON


def _is_string(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"
