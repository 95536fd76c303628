"""``/v1/chat/completions``: conversations in OpenAI's shape."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from pydantic import ValidationError

from services.core.bodies import read_body
from services.core.dialect import JSON, Call
from services.core.errors import invalid
from services.core.schema import Response
from services.tasks.llm import GENERATE, STREAM_GENERATE
from services.tasks.llm.openai.chat_body import ChatBody
from services.tasks.llm.openai.writing import Fields, Pages
from services.tasks.llm.schema import Alternative, Choice, GeneratePart, GenerateResponse, TokenLogprob

_WHOLE = "chat.completion"
_CHUNK = "chat.completion.chunk"


class Chat:
    """The route."""

    route = "/v1/chat/completions"
    method = GENERATE
    body = ChatBody
    media = JSON

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, "ChatWriter"]:
        """The request, and how its answer is written. Raises ServingError."""
        chat = read_body(body, ChatBody)
        try:
            request = chat.native()
        except ValidationError as error:
            raise invalid(error) from error
        call = Call(STREAM_GENERATE if chat.stream else GENERATE, (request,))
        return call, ChatWriter(identity, with_logprobs=chat.logprobs, with_usage=chat.stream_options.include_usage)


DIALECT = Chat()


class ChatWriter:
    """Writes one answer.

    Args:
        identity: of the call.
        with_logprobs: whether they were asked for.
        with_usage: whether the end of a stream tells what it cost.
    """

    def __init__(self, identity: str, *, with_logprobs: bool, with_usage: bool) -> None:
        self._pages = Pages(identity, "chatcmpl", with_usage=with_usage)
        self._with_logprobs = with_logprobs
        self._begun: set[int] = set()

    def whole(self, answers: Sequence[Response]) -> bytes:
        """A ``chat.completion``."""
        (answer,) = cast("Sequence[GenerateResponse]", answers)
        self._pages.count(answer.model, (answer.usage,))
        return self._pages.whole(_WHOLE, [self._choice(*numbered) for numbered in enumerate(answer.choices)])

    def part(self, part: Response) -> Iterator[bytes]:
        """The chunks of a part: who speaks comes before an answer's first, and why it ended after its last."""
        some = cast("GeneratePart", part)
        self._pages.count(some.model, (some.usage,))
        if some.index not in self._begun:
            self._begun.add(some.index)
            yield self._chunk(some.index, {"role": "assistant", "content": ""})
        if some.text or some.logprobs:
            yield self._chunk(some.index, {"content": some.text}, logprobs=self._logprobs(some.logprobs))
        if some.finish_reason:
            yield self._chunk(some.index, {}, finish_reason=some.finish_reason)

    def end(self) -> Iterable[bytes]:
        """What it cost, if asked for."""
        return self._pages.end(_CHUNK)

    def _chunk(self, index: int, delta: Fields, **more: object) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return self._pages.chunk(_CHUNK, choice)

    def _choice(self, index: int, choice: Choice) -> Fields:
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> Fields | None:
        return {"content": list(map(_told, tokens)), "refusal": None} if self._with_logprobs else None


def _told(token: TokenLogprob) -> Fields:
    return {**_token(token), "top_logprobs": list(map(_token, token.top))}


def _token(token: TokenLogprob | Alternative) -> Fields:
    return {"token": token.token, "bytes": token.bytes, "logprob": token.logprob}
