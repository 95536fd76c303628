"""Records every task's requests and answers are built from.

Validation that belongs to all text tasks lives here once: one text or many, the list bound, no blank text.
Field names are those of the matching protobuf messages.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from services.core.catalog import ModelSpec

MAX_ITEMS = 1024
"""Most texts in one request; the server splits and batches them."""

_PART = r"[a-z0-9][a-z0-9._-]*"
_MODEL_ID = re.compile(rf"{_PART}(@{_PART})?(:{_PART}(@{_PART})?)?")
_LONGEST_MODEL_ID = 200


class Record(BaseModel):
    """Frozen, strict (no silent conversion), and closed: an unknown field is an error."""

    # "Never a silent conversion" is what makes REST and gRPC agree: protobuf cannot coerce either.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


def _as_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(value)
    raise PydanticCustomError("text_type", "Give a string or a list of strings")


def _not_blank(text: str) -> str:
    if not text or text.isspace():
        raise PydanticCustomError("blank_text", "Give some text; this one is empty or only white space")
    if not text.isascii():
        _encodable(text)
    return text


def _encodable(text: str) -> None:
    # JSON and protobuf refuse lone surrogates before this; a Python caller can still make one.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "not_unicode", "Give text that is valid Unicode; this has a lone surrogate"
        ) from error


def _bounded(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise PydanticCustomError("no_text", "Give at least one text")
    return texts


def _not_too_many(value: Any) -> Any:
    # Before the per-item checks, so that a list of a million texts is refused without reading them.
    if isinstance(value, tuple) and len(value) > MAX_ITEMS:
        raise PydanticCustomError(
            "too_many_texts",
            "Give at most {limit} texts in one request; this one has {count}",
            {"limit": MAX_ITEMS, "count": len(value)},
        )
    return value


Text = Annotated[str, AfterValidator(_not_blank)]

Texts = Annotated[
    tuple[Text, ...],
    AfterValidator(_bounded),
    BeforeValidator(_not_too_many),
    BeforeValidator(_as_many),  # the last one listed runs first
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_ITEMS},
            ]
        }
    ),
]


def _model_id(value: str | None) -> str | None:
    if not value:
        return None  # protobuf cannot tell empty from absent; JSON shall not differ
    if len(value) > _LONGEST_MODEL_ID or not _MODEL_ID.fullmatch(value):
        raise PydanticCustomError(
            "model_id", "Give a model id such as name, name@version or name:adapter, in lower case; see GET /v1/models"
        )
    return value


ModelId = Annotated[
    str | None,
    AfterValidator(_model_id),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": _LONGEST_MODEL_ID}, {"type": "null"}]}),
]


def _as_bytes(value: Any, info: ValidationInfo) -> bytes | memoryview:
    if isinstance(value, bytes | memoryview):
        return value
    if info.mode == "json" and isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise PydanticCustomError("base64", "Give the bytes as base64") from None
    raise PydanticCustomError("bytes_type", "Give bytes, in JSON as base64")


Bytes = Annotated[
    bytes | memoryview,
    PlainValidator(_as_bytes),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "byte", "contentEncoding": "base64"}),
]
"""Bytes of a file; base64 in JSON. A memoryview is of a file that is not in memory."""


@cache
def bytes_field(record: type[Record]) -> str | None:
    """The name of a record's `Bytes` field, if it has one.

    Raises:
        TypeError: it has several; what a file is would be unclear.
    """
    found = [name for name, field in record.model_fields.items() if _has_bytes(field.annotation)]
    if len(found) > 1:
        raise TypeError(f"{record.__name__} has several fields of bytes: {', '.join(found)}")
    return found[0] if found else None


def _has_bytes(kind: Any) -> bool:
    return kind is memoryview or any(map(_has_bytes, get_args(kind)))


class Request(Record):
    """What every request carries."""

    model: ModelId = Field(
        default=None,
        description="Model id, `name[@version][:adapter[@version]]`. Omitted: the task's default model.",
    )

    @property
    def size(self) -> int:
        """Characters of user text: how much work it is to prepare this request."""
        return 0

    def suits(self, spec: ModelSpec) -> bool:
        """Whether this model could take it, for a request that names none."""
        return True


class TextRequest(Request):
    """A request over one text or a list of texts."""

    text: Texts = Field(description=f"One text, or a list of at most {MAX_ITEMS} texts.")

    @property
    def size(self) -> int:
        """Characters of all texts together."""
        return sum(map(len, self.text))


class LimitedTextRequest(TextRequest):
    """One over texts that the model takes whole, up to a limit."""

    truncate: bool = Field(
        default=False,
        description="Cut text past the model's limit. By default such text is an error that names the limit.",
    )


class Usage(Record):
    """What the request cost."""

    tokens: int = Field(default=0, description="Model tokens computed for this request.")

    @property
    def by_kind(self) -> Mapping[str, int]:
        """What metrics count, by its kind."""
        return {"input": self.tokens}

    @property
    def audio_seconds(self) -> float:
        """Of sound heard, or made."""
        return 0.0

    @property
    def audio_direction(self) -> Literal["in", "out"]:
        """Which of the two."""
        return "in"


class Response(Record):
    """What every answer carries."""

    model: str = Field(description="Full id of the model that answered.")
    usage: Usage = Field(default=Usage(), description="What the request cost.")
