"""Bodies of ``/v1/chat/completions``."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from services.tasks.llm.openai.fields import Body, Ignored, Inner, only
from services.tasks.llm.parameters import MOST, bounded
from services.tasks.llm.schema import MAX_LOGPROBS, MAX_MESSAGES, GenerateRequest, Message, Role

MAX_PARTS = 1024


def _joined(content: Any) -> Any:
    """Content as a text: its parts are lines, as vLLM has it."""
    if not isinstance(content, list):
        return content
    if len(content) > MAX_PARTS:
        raise PydanticCustomError("too_many", "Give at most {limit} parts", {"limit": MAX_PARTS})
    return "\n".join(map(_text_of, content))


def _text_of(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(text := part.get("text"), str):
        return text
    raise PydanticCustomError("part", "Give a string, or parts of the type text; there is nothing else served here")


def _some(messages: tuple["ChatMessage", ...]) -> tuple["ChatMessage", ...]:
    if not messages:
        raise PydanticCustomError("no_messages", "Give at least one message")
    return messages


class ChatMessage(Inner):
    """One turn of a conversation."""

    role: Annotated[Role, BeforeValidator(lambda role: "system" if role == "developer" else role)] = Field(
        description="Who says it; `developer` is `system`."
    )
    content: Annotated[
        str,
        BeforeValidator(_joined),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}),
    ] = Field(default="", description="What is said: a text, or parts of the type `text`.")
    tool_calls: Annotated[Ignored, only([])] = None
    function_call: Annotated[Ignored, only()] = None
    audio: Annotated[Ignored, only()] = None


class JsonSchema(Inner):
    """A schema and what it is called."""

    schema_: dict[str, Any] = Field(alias="schema", description="The JSON Schema that the text follows.")


class ChatFormat(Inner):
    """What the text must be."""

    type: Literal["text", "json_object", "json_schema"] = Field(description="As OpenAI has it.")
    json_schema: JsonSchema | None = Field(default=None, description="For the type of that name.")

    def native(self) -> dict[str, str]:
        """The same as the task's own request has it."""
        schema = json.dumps(self.json_schema.schema_, ensure_ascii=False) if self.json_schema else ""
        return {"type": self.type, "json_schema": schema}


class ChatBody(Body):
    """A conversation to be answered, in OpenAI's shape."""

    messages: Annotated[tuple[ChatMessage, ...], AfterValidator(_some), bounded("messages", MAX_MESSAGES)] = Field(
        description="The conversation."
    )
    max_completion_tokens: int | None = Field(
        default=None, ge=1, le=MOST, description="Most tokens to generate; goes before `max_tokens`."
    )
    logprobs: bool = Field(default=False, description="Whether to tell each token's log-probability.")
    top_logprobs: int = Field(
        default=0, ge=0, le=MAX_LOGPROBS, description="How many alternatives are told with it; needs `logprobs`."
    )
    response_format: ChatFormat = Field(default=ChatFormat(type="text"), description="What the text must be.")
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    tools: Annotated[Ignored, only([])] = None
    tool_choice: Annotated[Ignored, only("none", "auto")] = None
    functions: Annotated[Ignored, only([])] = None
    function_call: Annotated[Ignored, only("none", "auto")] = None
    modalities: Annotated[Ignored, only(["text"])] = None
    audio: Annotated[Ignored, only()] = None
    web_search_options: Annotated[Ignored, only()] = None
    reasoning_effort: Annotated[Ignored, only("none")] = None
    verbosity: Annotated[Ignored, only("medium")] = None

    @field_validator("top_logprobs")
    @classmethod
    def _beside_the_tokens_own(cls, top: int, info: ValidationInfo) -> int:
        if top and not info.data.get("logprobs"):
            raise PydanticCustomError("top_logprobs", "Give logprobs, too, or leave it out")
        return top

    def native(self) -> tuple[GenerateRequest, ...]:
        """One."""
        fields = self.shared()
        if self.max_completion_tokens is not None:
            fields["max_tokens"] = self.max_completion_tokens
        if self.logprobs:
            fields["logprobs"] = self.top_logprobs
        if "response_format" in self.model_fields_set:
            fields["response_format"] = self.response_format.native()
        messages = tuple(Message(role=one.role, content=one.content) for one in self.messages)
        return (GenerateRequest(messages=messages, **fields),)
