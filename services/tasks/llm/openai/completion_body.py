"""Bodies of ``/v1/completions``."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from services.tasks.llm.openai.fields import Body, Ignored, only
from services.tasks.llm.parameters import as_many, bounded
from services.tasks.llm.schema import MAX_LOGPROBS, GenerateRequest

MAX_PROMPTS = 64
MAX_TOKENS = 16
"""Generated unless a body says how many, as OpenAI has it."""


def _texts(value: Any) -> Any:
    if isinstance(value, tuple) and any(isinstance(item, int | list) for item in value):
        raise PydanticCustomError("token_ids", "Give texts; prompts of token ids are not served")
    return value


Prompts = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_texts),
    bounded("prompts or token ids", MAX_PROMPTS),
    BeforeValidator(as_many),  # the last one listed runs first
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class CompletionBody(Body):
    """Prompts to be continued, in OpenAI's shape."""

    prompt: Prompts = Field(description=f"A text, or up to {MAX_PROMPTS}; streamed, one.")
    echo: bool = Field(default=False, description="Whether answers begin with the prompt.")
    logprobs: int | None = Field(
        default=None, ge=0, le=MAX_LOGPROBS, description="Tell log-probabilities, with so many alternatives."
    )
    best_of: int | None = Field(default=None, description="The same as `n`.")
    suffix: Annotated[Ignored, only("")] = None

    # A field's check sees the fields before it.

    @field_validator("prompt")
    @classmethod
    def _one_when_streamed(cls, prompts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("stream") and len(prompts) > 1:
            raise PydanticCustomError("several_prompts", "Give one with stream, or several without")
        return prompts

    @field_validator("logprobs")
    @classmethod
    def _not_of_prompts(cls, logprobs: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("echo"):
            raise PydanticCustomError("echo", "Leave it out, or echo: a prompt's own are not served")
        return logprobs

    @field_validator("best_of")
    @classmethod
    def _all_that_are_best(cls, best_of: int | None, info: ValidationInfo) -> int | None:
        if best_of != info.data.get("n"):
            raise PydanticCustomError("best_of", "Leave it out, or give the same as n")
        return best_of

    def native(self) -> tuple[GenerateRequest, ...]:
        """One for each prompt."""
        fields = {"max_tokens": MAX_TOKENS, **self.shared(), "logprobs": self.logprobs}
        return tuple(GenerateRequest(prompt=prompt, **fields) for prompt in self.prompt)
