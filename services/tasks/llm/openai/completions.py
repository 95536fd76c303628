"""``/v1/completions``: prompts in OpenAI's older shape."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from pydantic import ValidationError

from services.core.bodies import read_body
from services.core.dialect import JSON, Call
from services.core.errors import invalid
from services.core.schema import Response
from services.tasks.llm import GENERATE, STREAM_GENERATE
from services.tasks.llm.openai.completion_body import CompletionBody
from services.tasks.llm.openai.writing import Fields, Pages
from services.tasks.llm.schema import GeneratePart, GenerateResponse, TokenLogprob

_KIND = "text_completion"


class Completions:
    """The route."""

    route = "/v1/completions"
    method = GENERATE
    body = CompletionBody
    media = JSON

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, "CompletionWriter"]:
        """The requests, and how their answer is written. Raises ServingError."""
        asked = read_body(body, CompletionBody)
        try:
            requests = asked.native()
        except ValidationError as error:
            raise invalid(error) from error
        return Call(STREAM_GENERATE if asked.stream else GENERATE, requests), CompletionWriter(identity, asked)


DIALECT = Completions()


class CompletionWriter:
    """Writes the answer to one body."""

    def __init__(self, identity: str, asked: CompletionBody) -> None:
        self._pages = Pages(identity, "cmpl", with_usage=asked.stream_options.include_usage)
        self._with_logprobs = asked.logprobs is not None
        self._before = asked.prompt if asked.echo else ("",) * len(asked.prompt)
        self._lengths: dict[int, int] = {}

    def whole(self, answers: Sequence[Response]) -> bytes:
        """A ``text_completion``: the choices of the first prompt, then those of the next."""
        found = cast("Sequence[GenerateResponse]", answers)
        self._pages.count(found[0].model, (answer.usage for answer in found))
        given = [
            (before + choice.text, choice)
            for before, answer in zip(self._before, found, strict=True)
            for choice in answer.choices
        ]
        choices = [
            self._choice(index, text, choice.logprobs, choice.finish_reason)
            for index, (text, choice) in enumerate(given)
        ]
        return self._pages.whole(_KIND, choices)

    def part(self, part: Response) -> Iterator[bytes]:
        """Its chunk."""
        some = cast("GeneratePart", part)
        self._pages.count(some.model, (some.usage,))
        text = some.text if some.index in self._lengths else self._before[0] + some.text
        yield self._pages.chunk(_KIND, self._choice(some.index, text, some.logprobs, some.finish_reason))

    def end(self) -> Iterable[bytes]:
        """What it cost, if asked for."""
        return self._pages.end(_KIND)

    def _choice(self, index: int, text: str, tokens: Sequence[TokenLogprob], reason: str | None) -> Fields:
        offsets = self._offsets(index, tokens)
        logprobs = {**_logprobs(tokens), "text_offset": offsets} if self._with_logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _offsets(self, index: int, tokens: Sequence[TokenLogprob]) -> list[int]:
        """Where tokens begin in the text of an answer, all that came before them counted."""
        offsets, end = [], self._lengths.get(index, 0)
        for token in tokens:
            offsets.append(end)
            end += len(token.token)
        self._lengths[index] = end
        return offsets


def _logprobs(tokens: Sequence[TokenLogprob]) -> Fields:
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": list(map(_alternatives, tokens)),
    }


def _alternatives(token: TokenLogprob) -> dict[str, float]:
    """The token that came is among them, as OpenAI has it."""
    return {one.token: one.logprob for one in token.top} | {token.token: token.logprob}
