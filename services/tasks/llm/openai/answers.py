"""OpenAI's shapes of answers: what writers write, and what the documentation says of it.

Dictionaries of known fields, since they are written once and never read here. Names are those of openai-python.
"""

from collections.abc import Sequence
from typing import (
    Literal,
    NotRequired,
)

from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other

from services.tasks.llm.schema import FinishReason


class PromptTokensDetails(TypedDict):
    """Of the prompt, how many tokens were computed for an earlier request."""

    cached_tokens: int


class CompletionUsage(TypedDict):
    """What the request cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(TypedDict):
    """A token that could have come."""

    token: str
    bytes: Sequence[int]
    logprob: float


class ChatCompletionTokenLogprob(TopLogprob):
    """One that came, and the most probable at its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(TypedDict):
    """Of the tokens of a text."""

    content: list[ChatCompletionTokenLogprob]
    refusal: None


class ChatCompletionMessage(TypedDict):
    """What was generated."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(TypedDict):
    """One answer."""

    index: int
    message: ChatCompletionMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class ChoiceDelta(TypedDict, total=False):
    """What comes next in an answer; who speaks comes first."""

    role: Literal["assistant"]
    content: str


class ChunkChoice(TypedDict):
    """Some more of one answer."""

    index: int
    delta: ChoiceDelta
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason | None


class Logprobs(TypedDict):
    """Of the tokens of a text, in the older shape."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """One text, or some more of it."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class _Page(TypedDict):
    id: str
    created: int
    model: str


class ChatCompletion(_Page):
    """The answers of a chat."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: CompletionUsage


class ChatCompletionChunk(_Page):
    """Some more of one of them; `usage` is null but in the last chunk, if it was asked for."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: NotRequired[CompletionUsage | None]


class Completion(_Page):
    """The texts of a completion, or a chunk of one; a chunk's `usage` is as a chat's."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: NotRequired[CompletionUsage | None]
