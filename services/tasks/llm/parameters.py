"""How a text is to be generated: the fields that every way to ask shares, whatever the shape of its prompt."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from services.core.schema import Request

MAX_CHOICES = 16
MAX_STOPS = 16
MAX_STOP = 200
MAX_BIASES = 1024
MOST = 2**31 - 1
"""The largest count that both protocols can say."""


def bounded(what: str, limit: int) -> BeforeValidator:
    """Before the items are looked at, so that a list of a million is refused without reading them."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > limit:
            raise PydanticCustomError(
                "too_many",
                "Give at most {limit} {what}; these are {count}",
                {"limit": limit, "what": what, "count": len(value)},
            )
        return tuple(value) if isinstance(value, list) else value

    return BeforeValidator(check)


def as_many(value: Any) -> Any:
    """One text as a list of it, as OpenAI's clients may write it."""
    return (value,) if isinstance(value, str) else value


def _stop(text: str) -> str:
    if not 0 < len(text) <= MAX_STOP:
        raise PydanticCustomError("stop", "Give a text of 1 to {limit} characters", {"limit": MAX_STOP})
    return text


def _token_ids(value: Any) -> Any:
    # Keys of JSON objects are strings; those of protobuf maps are numbers already.
    if isinstance(value, dict):
        return {int(key) if _is_number(key) else key: bias for key, bias in value.items()}
    return value


def _is_number(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= len(str(MOST))


TokenId = Annotated[int, Field(ge=0, le=MOST)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Stops = Annotated[
    tuple[Annotated[str, AfterValidator(_stop)], ...],
    bounded("stop texts", MAX_STOPS),
    BeforeValidator(as_many),  # the last one listed runs first
]
Biases = Annotated[dict[TokenId, Bias], BeforeValidator(_token_ids), bounded("biases", MAX_BIASES)]


class Continuation(Request):
    """How a text is continued."""

    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="Most tokens to generate. Omitted: as many as the model's context has room for.",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="0 takes the most probable token. Omitted: the model's own, or 1."
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="Only the most probable, of this probability together."
    )
    top_k: int | None = Field(default=None, ge=0, le=MOST, description="Only so many of the most probable; 0 is all.")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="Only those with this share of the best one's probability."
    )
    repetition_penalty: float | None = Field(
        default=None, gt=0, le=10, description="Above 1, tokens of prompt and output become less probable."
    )
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="Taken off logits of tokens in the output.")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="The same, as often as they occur.")
    logit_bias: Biases = Field(
        default={}, description="Added to the logits of these token ids, -100 to 100; -100 bans a token."
    )
    stop: Stops = Field(
        default=(), description=f"A text, or up to {MAX_STOPS}, at which to stop; they are not part of the answer."
    )
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63, description="Makes the answer repeatable.")
    n: int = Field(default=1, ge=1, le=MAX_CHOICES, description="How many answers to give.")
    min_tokens: int = Field(default=0, ge=0, le=MOST, description="Fewest tokens before the model may end.")
    ignore_eos: bool = Field(
        default=False, description="Go on to `max_tokens`, whatever the model says; for measuring."
    )
