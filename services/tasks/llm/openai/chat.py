"""``/v1/chat/completions``: conversations in OpenAI's shape."""

from collections.abc import Iterator, Sequence

from services.tasks.llm.openai.answers import (
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionTokenLogprob,
    ChoiceDelta,
    ChoiceLogprobs,
    ChunkChoice,
    TopLogprob,
)
from services.tasks.llm.openai.chat_body import ChatBody
from services.tasks.llm.openai.route import Route
from services.tasks.llm.openai.writing import PageWriter
from services.tasks.llm.schema import Alternative, Choice, FinishReason, GeneratePart, GenerateResponse, TokenLogprob


class ChatWriter(PageWriter):
    """Writes one answer."""

    prefix = "chatcmpl"
    whole_kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, identity: str, asked: ChatBody) -> None:
        super().__init__(identity, asked)
        self._with_logprobs = asked.logprobs
        self._begun: set[int] = set()

    def choices(self, answers: Sequence[GenerateResponse]) -> Sequence[ChatChoice]:
        """Those of the one answer there is."""
        (answer,) = answers
        return [self._choice(index, choice) for index, choice in enumerate(answer.choices)]

    def chunks(self, part: GeneratePart) -> Iterator[ChunkChoice]:
        """Who speaks comes before an answer's first, and why it ended after its last."""
        if part.index not in self._begun:
            self._begun.add(part.index)
            yield _chunk(part.index, {"role": "assistant", "content": ""})
        if part.text or part.logprobs:
            yield _chunk(part.index, {"content": part.text}, logprobs=self._logprobs(part.logprobs))
        if part.finish_reason:
            yield _chunk(part.index, {}, finish_reason=part.finish_reason)

    def _choice(self, index: int, choice: Choice) -> ChatChoice:
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> ChoiceLogprobs | None:
        return {"content": list(map(_told, tokens)), "refusal": None} if self._with_logprobs else None


DIALECT = Route("/v1/chat/completions", ChatBody, ChatWriter, ChatCompletion, ChatCompletionChunk)


def _chunk(
    index: int, delta: ChoiceDelta, logprobs: ChoiceLogprobs | None = None, finish_reason: FinishReason | None = None
) -> ChunkChoice:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _told(token: TokenLogprob) -> ChatCompletionTokenLogprob:
    return {**_token(token), "top_logprobs": list(map(_token, token.top))}


def _token(token: TokenLogprob | Alternative) -> TopLogprob:
    return {"token": token.token, "bytes": token.bytes, "logprob": token.logprob}
