"""What answers in OpenAI's shapes share: their head, what they cost, and chunks."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from services.tasks.llm.schema import GenerationUsage

Fields = dict[str, Any]


class Pages:
    """Writes the bodies of one answer: the whole of it, or its chunks.

    Args:
        identity: of the call.
        prefix: of the answer's own id.
        with_usage: whether chunks tell what the request cost: null, and at the end the sum.
    """

    def __init__(self, identity: str, prefix: str, *, with_usage: bool) -> None:
        self._head = {"id": f"{prefix}-{identity}", "created": int(datetime.now(UTC).timestamp())}
        self._usage = GenerationUsage()
        self._model = ""
        self._with_usage = with_usage

    def count(self, model: str, usages: Iterable[GenerationUsage]) -> None:
        """Take note of who answered, and what it cost."""
        self._model = model
        for usage in usages:
            if usage.tokens:
                self._usage = _sum(self._usage, usage)

    def whole(self, kind: str, choices: Sequence[Fields]) -> bytes:
        """The body of an answer, of all that was counted."""
        return self._page(kind, choices, {"usage": _usage(self._usage)})

    def chunk(self, kind: str, choice: Fields) -> bytes:
        """One chunk."""
        return self._page(kind, [choice], {"usage": None} if self._with_usage else {})

    def end(self, kind: str) -> Iterable[bytes]:
        """What comes after the last chunk."""
        return (self._page(kind, [], {"usage": _usage(self._usage)}),) if self._with_usage else ()

    def _page(self, kind: str, choices: Sequence[Fields], more: Fields) -> bytes:
        return to_json({**self._head, "object": kind, "model": self._model, "choices": choices, **more})


def _sum(one: GenerationUsage, other: GenerationUsage) -> GenerationUsage:
    return GenerationUsage(
        tokens=one.tokens + other.tokens,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )


def _usage(usage: GenerationUsage) -> Fields:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
