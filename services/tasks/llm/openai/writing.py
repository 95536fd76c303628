"""What the answers of both routes share: their head, what they cost, and chunks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, cast

from pydantic_core import to_json

from services.core.dialect import JSON
from services.core.schema import Response
from services.tasks.llm.openai.answers import CompletionUsage
from services.tasks.llm.openai.fields import Body
from services.tasks.llm.schema import GeneratePart, GenerateResponse, GenerationUsage

Fields = Mapping[str, object]
"""One of `answers`."""


class PageWriter(ABC):
    """Writes the answer to one body: the whole of it, or its chunks. What choices look like is each route's own.

    Args:
        identity: of the call.
        asked: the body.
    """

    media = JSON
    prefix: ClassVar[str]
    """Of the answer's own id."""
    whole_kind: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(self, identity: str, asked: Body) -> None:
        self._head = {"id": f"{self.prefix}-{identity}", "created": int(datetime.now(UTC).timestamp())}
        self._usage = GenerationUsage()
        self._model = ""
        self._with_usage = asked.stream_options.include_usage  # in chunks: null, and at the end the sum

    @abstractmethod
    def choices(self, answers: Sequence[GenerateResponse]) -> Sequence[Fields]:
        """Those of whole answers."""

    @abstractmethod
    def chunks(self, part: GeneratePart) -> Iterator[Fields]:
        """Those of the chunks of a part, one each."""

    def whole(self, answers: Sequence[Response]) -> bytes:
        """The body of all of them."""
        found = cast("Sequence[GenerateResponse]", answers)
        for answer in found:
            self._count(answer)
        return self._page(self.whole_kind, self.choices(found), usage=_told(self._usage))

    def part(self, part: Response) -> Iterable[bytes]:
        """The chunks of a part."""
        some = cast("GeneratePart", part)
        self._count(some)
        more = {"usage": None} if self._with_usage else {}
        return [self._page(self.chunk_kind, [choice], **more) for choice in self.chunks(some)]

    def end(self) -> Iterable[bytes]:
        """What it cost, if asked for."""
        return (self._page(self.chunk_kind, [], usage=_told(self._usage)),) if self._with_usage else ()

    def _count(self, answer: GenerateResponse | GeneratePart) -> None:
        self._model = answer.model
        if answer.usage.tokens:
            self._usage = _sum(self._usage, answer.usage)

    def _page(self, kind: str, choices: Sequence[Fields], **more: object) -> bytes:
        return to_json({**self._head, "object": kind, "model": self._model, "choices": choices, **more})


def _sum(one: GenerationUsage, other: GenerationUsage) -> GenerationUsage:
    return GenerationUsage(
        tokens=one.tokens + other.tokens,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )


def _told(usage: GenerationUsage) -> CompletionUsage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
