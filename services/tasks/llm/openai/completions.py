"""``/v1/completions``: prompts in OpenAI's older shape."""

from collections.abc import Iterator, Sequence

from services.tasks.llm.openai.answers import Completion, CompletionChoice, Logprobs
from services.tasks.llm.openai.completion_body import CompletionBody
from services.tasks.llm.openai.route import Route
from services.tasks.llm.openai.writing import PageWriter
from services.tasks.llm.schema import FinishReason, GeneratePart, GenerateResponse, TokenLogprob


class CompletionWriter(PageWriter):
    """Writes the answer to one body."""

    prefix = "cmpl"
    whole_kind = chunk_kind = "text_completion"

    def __init__(self, identity: str, asked: CompletionBody) -> None:
        super().__init__(identity, asked)
        self._with_logprobs = asked.logprobs is not None
        self._before = asked.prompt if asked.echo else ("",) * len(asked.prompt)
        self._lengths: dict[int, int] = {}

    def choices(self, answers: Sequence[GenerateResponse]) -> Sequence[CompletionChoice]:
        """Those of the first prompt, then those of the next."""
        given = [
            (before + choice.text, choice)
            for before, answer in zip(self._before, answers, strict=True)
            for choice in answer.choices
        ]
        return [
            self._choice(index, text, choice.logprobs, choice.finish_reason)
            for index, (text, choice) in enumerate(given)
        ]

    def chunks(self, part: GeneratePart) -> Iterator[CompletionChoice]:
        """The one that it is."""
        text = part.text if part.index in self._lengths else self._before[0] + part.text
        yield self._choice(part.index, text, part.logprobs, part.finish_reason)

    def _choice(
        self, index: int, text: str, tokens: Sequence[TokenLogprob], reason: FinishReason | None
    ) -> CompletionChoice:
        offsets = self._offsets(index, tokens)
        logprobs = _logprobs(tokens, offsets) if self._with_logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _offsets(self, index: int, tokens: Sequence[TokenLogprob]) -> list[int]:
        """Where tokens begin in the text of an answer, all that came before them counted."""
        offsets, end = [], self._lengths.get(index, 0)
        for token in tokens:
            offsets.append(end)
            end += len(token.token)
        self._lengths[index] = end
        return offsets


DIALECT = Route("/v1/completions", CompletionBody, CompletionWriter, Completion, Completion)


def _logprobs(tokens: Sequence[TokenLogprob], offsets: list[int]) -> Logprobs:
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": list(map(_alternatives, tokens)),
        "text_offset": offsets,
    }


def _alternatives(token: TokenLogprob) -> dict[str, float]:
    """The token that came is among them, as OpenAI has it."""
    return {one.token: one.logprob for one in token.top} | {token.token: token.logprob}
