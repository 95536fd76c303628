"""A conversation as the page holds it, and the request for what comes next in it. Knows no widget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from typing import Any

from pydantic import ValidationError

from services.core.errors import invalid
from services.tasks.llm import GenerateRequest, Message

Shown = Sequence[Mapping[str, Any]]
"""Turns as Gradio's chatbot has them: who says it, and what, in pieces."""


@dataclass(frozen=True)
class Form:
    """What people have filled in.

    Args:
        turns: what has been said.
        plain: whether the text goes on as it is, and is no turn of a conversation.
        text: what is said now.
        system: how the model shall behave; only in a conversation.
        options: further fields of the request.
    """

    turns: tuple[Message, ...]
    plain: bool
    text: str
    system: str
    options: Mapping[str, Any]

    def request(self) -> GenerateRequest:
        """What the server is asked. Raises ServingError."""
        try:
            if self.plain:
                return GenerateRequest(prompt=self.text, **self.options)
            system = (Message(role="system", content=self.system),) if self.system else ()
            return GenerateRequest(messages=(*system, *self.asked()), **self.options)
        except ValidationError as error:
            raise invalid(error) from error

    def asked(self) -> tuple[Message, ...]:
        """The turns with what is said now."""
        return (*self.turns, Message(role="user", content=self.text))

    def answered(self, text: str) -> tuple[Message, ...]:
        """The turns with an answer to it."""
        return (*self.asked(), Message(role="assistant", content=text))


def read(shown: Shown) -> tuple[Message, ...]:
    """The turns that the page holds."""
    return tuple(
        Message(role=turn["role"], content=unescape("".join(piece["text"] for piece in turn["content"])))
        for turn in shown
    )


def show(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """The same for the page, as HTML; a text that is not in pieces would lose the space it begins with."""
    return [
        {"role": turn.role, "content": [{"type": "text", "text": escape(turn.content, quote=False)}]} for turn in turns
    ]
