"""Fields of bodies in OpenAI's shape that both routes have.

What cannot change the answer is taken and left alone; what would, and is not served, is refused by name.
"""

from abc import abstractmethod
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from services.core.schema import Record
from services.tasks.llm.parameters import Continuation
from services.tasks.llm.schema import GenerateRequest

Ignored = SkipJsonSchema[Any]
"""What says nothing of the answer."""


def only(*idle: Any) -> AfterValidator:
    """What is not served, unless it is one of these values, which ask for nothing."""

    def check(value: Any) -> Any:
        if value not in idle:
            raise PydanticCustomError("not_served", "This is not served here; leave it out")
        return value

    return AfterValidator(check)


class Shape(Record):
    """A record in which null means that a field is not there."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if isinstance(fields, dict):
            return {name: value for name, value in fields.items() if value is not None}
        return fields


class Inner(Shape):
    """One inside a body, where clients put what they like: an answer sent back has all that answers have."""

    model_config = ConfigDict(extra="ignore")


class StreamOptions(Inner):
    """How a streamed answer is sent."""

    include_usage: bool = Field(default=False, description="Whether a last chunk tells what the request cost.")


class Body(Shape, Continuation):
    """What both routes' bodies have."""

    stream: bool = Field(default=False, description="Whether the answer is sent as it is generated.")
    stream_options: StreamOptions = Field(default=StreamOptions(), description="How it is sent then.")
    user: Ignored = None
    metadata: Ignored = None
    store: Ignored = None
    service_tier: Ignored = None
    safety_identifier: Ignored = None
    moderation: Annotated[Ignored, only()] = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None

    @field_validator("top_k", mode="before")
    @classmethod
    def _all(cls, given: Any) -> Any:
        return 0 if given == -1 else given  # as vLLM's clients say it

    @abstractmethod
    def native(self) -> tuple[GenerateRequest, ...]:
        """The same as the task's own requests. Raises ValidationError."""

    def shared(self) -> dict[str, Any]:
        """What is given of the fields that the task's own request has, too."""
        return {name: getattr(self, name) for name in Continuation.model_fields if name in self.model_fields_set}
