"""Request and answer of text generation; fields are those of ``chorale.llm.v1``."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.core.schema import Record, Response, Text, Usage
from services.tasks.llm.parameters import Continuation, bounded

MAX_MESSAGES = 1024
MAX_LOGPROBS = 20
MAX_SCHEMA = 65_536

Logprob = Annotated[float, AfterValidator(lambda logprob: max(logprob, -9999.0))]
"""That of a probability of zero is what OpenAI writes for it: JSON has no infinity."""

Role = Literal["system", "user", "assistant", "tool"]


def _or_default(default: str) -> BeforeValidator:
    # protobuf cannot tell empty from absent; JSON shall not differ
    return BeforeValidator(lambda value: default if value == "" else value)


class Message(Record):
    """One turn of a conversation."""

    role: Role = Field(description="Who says it: `system`, `user`, `assistant` or `tool`.")
    content: str = Field(default="", description="What is said.")


class ResponseFormat(Record):
    """What the text must be."""

    type: Annotated[Literal["text", "json_object", "json_schema"], _or_default("text")] = Field(
        default="text", description="`json_object`: any JSON object. `json_schema`: JSON that the schema allows."
    )
    json_schema: str = Field(
        default="", max_length=MAX_SCHEMA, description="The JSON Schema, as JSON text; for `json_schema`."
    )

    @model_validator(mode="after")
    def _schema_goes_with_its_type(self) -> Self:
        if bool(self.json_schema) != (self.type == "json_schema"):
            raise PydanticCustomError("json_schema", "Give a json_schema with the type json_schema, and only then")
        return self


class GenerateRequest(Continuation):
    """A prompt, or a conversation, to be continued."""

    prompt: Text | None = Field(default=None, description="Text to be continued as it is; or give messages.")
    messages: Annotated[tuple[Message, ...], bounded("messages", MAX_MESSAGES)] = Field(
        default=(), description="A conversation to be answered, put into the model's own form; or give a prompt."
    )
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=MAX_LOGPROBS,
        description="Tell each token's log-probability, and those of so many alternatives.",
    )
    response_format: ResponseFormat = Field(default=ResponseFormat(), description="What the text must be.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prompt is None) == (not self.messages):
            raise PydanticCustomError("prompt", "Give either a prompt or messages")
        return self

    @property
    def size(self) -> int:
        """Characters of the prompt or conversation, and of a schema."""
        return (
            len(self.prompt or "")
            + sum(len(one.content) for one in self.messages)
            + len(self.response_format.json_schema)
        )


class Alternative(Record):
    """A token that could have come."""

    token: str = Field(description="Its text.")
    bytes: tuple[int, ...] = Field(default=(), description="Its bytes: a token may be part of a character.")
    logprob: Logprob = Field(description="Natural logarithm of its probability.")


class TokenLogprob(Record):
    """A token of the answer with its log-probability."""

    token: str = Field(description="Its text.")
    bytes: tuple[int, ...] = Field(default=(), description="Its bytes: a token may be part of a character.")
    logprob: Logprob = Field(description="Natural logarithm of its probability, before temperature and penalties.")
    top: tuple[Alternative, ...] = Field(default=(), description="The most probable at its place, best first.")


FinishReason = Literal["stop", "length"]


class Choice(Record):
    """One answer."""

    text: str = Field(description="What was generated.")
    finish_reason: FinishReason = Field(
        description="`stop`: it ended by itself or at a stop text. `length`: at its limit."
    )
    logprobs: tuple[TokenLogprob, ...] = Field(default=(), description="One per token, if asked for.")


class GenerationUsage(Usage):
    """What generating cost, in tokens; `tokens` is all of them."""

    prompt_tokens: int = Field(default=0, description="Of the prompt, however many answers there are.")
    cached_tokens: int = Field(default=0, description="Of those, how many were computed for an earlier request.")
    completion_tokens: int = Field(default=0, description="Generated, all answers together.")

    @property
    def by_kind(self) -> Mapping[str, int]:
        """What metrics count, by its kind."""
        return {"input": self.prompt_tokens, "output": self.completion_tokens}


class GenerateResponse(Response):
    """The answers."""

    choices: tuple[Choice, ...] = Field(description="As many as asked for.")
    usage: GenerationUsage = Field(default=GenerationUsage(), description="What the request cost.")


class GeneratePart(Response):
    """Some more text of one answer."""

    index: int = Field(description="Which answer this is of, from 0.")
    text: str = Field(description="What comes next in it.")
    finish_reason: FinishReason | None = Field(default=None, description="Given with an answer's last part.")
    logprobs: tuple[TokenLogprob, ...] = Field(default=(), description="One per token, if asked for.")
    usage: GenerationUsage = Field(
        default=GenerationUsage(), description="What this part cost; the prompt with the first."
    )
