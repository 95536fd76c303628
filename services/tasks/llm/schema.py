"""Request and answer of text generation; fields are those of ``chorale.llm.v1``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.core.schema import Record, Request, Response, Text, Usage

MAX_CHOICES = 16
MAX_STOPS = 16
MAX_STOP = 200
MAX_MESSAGES = 1024
MAX_LOGPROBS = 20
MAX_BIASES = 1024
MAX_SCHEMA = 65_536

Role = Literal["system", "user", "assistant", "tool"]


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _bounded(what: str, limit: int) -> BeforeValidator:
    """Before the items are looked at, so that a list of a million is refused without reading them."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > limit:
            raise PydanticCustomError(
                "too_many",
                "Give at most {limit} {what}; these are {count}",
                {"limit": limit, "what": what, "count": len(value)},
            )
        return value

    return BeforeValidator(check)


class Message(Record):
    """One turn of a conversation."""

    role: Role = Field(description="Who says it: `system`, `user`, `assistant` or `tool`.")
    content: str = Field(description="What is said.")


class ResponseFormat(Record):
    """What the text must be."""

    type: Literal["text", "json_object", "json_schema"] = Field(
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


class GenerateRequest(Request):
    """A prompt, or a conversation, to be continued."""

    prompt: Text | None = Field(default=None, description="Text to be continued as it is; or give messages.")
    messages: Annotated[tuple[Message, ...], _bounded("messages", MAX_MESSAGES)] = Field(
        default=(), description="A conversation to be answered, put into the model's own form; or give a prompt."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Most tokens to generate. Omitted: as many as the model's context has room for."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="0 takes the most probable token. Omitted: the model's own, or 1."
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="Only the most probable, of this probability together."
    )
    top_k: int | None = Field(default=None, ge=0, description="Only so many of the most probable; 0 is all.")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="Only those with this share of the best one's probability."
    )
    repetition_penalty: float | None = Field(
        default=None, gt=0, le=10, description="Above 1, tokens of prompt and output become less probable."
    )
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="Taken off logits of tokens in the output.")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="The same, as often as they occur.")
    logit_bias: Annotated[dict[int, float], _bounded("biases", MAX_BIASES)] = Field(
        default={}, description="Added to the logits of these token ids; -100 bans a token."
    )
    stop: Annotated[tuple[str, ...], _bounded("stop strings", MAX_STOPS), BeforeValidator(_as_many)] = Field(
        default=(), description=f"Up to {MAX_STOPS} texts at which to stop; they are not part of the answer."
    )
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63, description="Makes the answer repeatable.")
    n: int = Field(default=1, ge=1, le=MAX_CHOICES, description="How many answers to give.")
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=MAX_LOGPROBS,
        description="Tell each token's log-probability, and those of so many alternatives.",
    )
    response_format: ResponseFormat = Field(default=ResponseFormat(), description="What the text must be.")
    min_tokens: int = Field(default=0, ge=0, description="Fewest tokens before the model may end.")
    ignore_eos: bool = Field(
        default=False, description="Go on to `max_tokens`, whatever the model says; for measuring."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prompt is None) == (not self.messages):
            raise PydanticCustomError("prompt", "Give either a prompt or messages")
        return self

    @model_validator(mode="after")
    def _stops_are_texts(self) -> Self:
        if any(not 0 < len(stop) <= MAX_STOP for stop in self.stop):
            raise PydanticCustomError("stop", "stop: give texts of 1 to {limit} characters", {"limit": MAX_STOP})
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
    logprob: float = Field(description="Natural logarithm of its probability.")


class TokenLogprob(Record):
    """A token of the answer with its log-probability."""

    token: str = Field(description="Its text.")
    bytes: tuple[int, ...] = Field(default=(), description="Its bytes: a token may be part of a character.")
    logprob: float = Field(description="Natural logarithm of its probability, before temperature and penalties.")
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

    prompt_tokens: int = Field(default=0, description="Of the prompt, once for each answer's own.")
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
