"""From the tokens of one answer to its text, as they come.

Nothing told is ever taken back: half a character waits for its other half, and what could begin a stop text for what
shows whether it does. Knows tokens and texts; no requests and no sampling.
"""

import codecs
from dataclasses import dataclass

from services.core.generation.records import Token
from services.tasks.llm.schema import Alternative, FinishReason, TokenLogprob
from services.tasks.llm.stopping import Stops
from services.tasks.llm.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new of one answer.

    Args:
        text: what comes next in it.
        tokens: how many were read for it, one that ended it included.
        logprobs: of those that are text, if asked for.
        finish_reason: with the last one only.
        prompt_tokens: of the prompt, with the first one only.
        cached_tokens: of those, how many were computed before; with the first one only.
    """

    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How the answers of one request are read.

    Args:
        vocabulary: of the model.
        stops: at which they end.
        prompt_tokens: of the prompt, as far as it counts for this answer.
        ends: ids at which they end; none for a caller who ignores them.
    """

    vocabulary: Vocabulary
    stops: Stops
    prompt_tokens: int
    ends: frozenset[int]

    def reader(self, cached_tokens: int) -> "TextReader":
        """A new answer's."""
        return TextReader(self, cached_tokens)


class TextReader:
    """Reads one answer (`services.core.generation.records.Reader`)."""

    def __init__(self, reading: Reading, cached_tokens: int) -> None:
        self._reading = reading
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""  # that could begin a stop text
        self._tokens = 0
        self._logprobs: list[TokenLogprob] = []
        self._prompt = (reading.prompt_tokens, min(cached_tokens, reading.prompt_tokens))
        self.finished = False

    def read(self, token: Token) -> Delta | None:
        """What is new with this token; None is nothing yet."""
        self._tokens += 1
        if token.id in self._reading.ends:
            return self._end("stop")
        if token.logprob is not None:
            self._logprobs.append(_logprob(self._reading.vocabulary, token, token.logprob))
        new = self._characters.decode(self._reading.vocabulary.written(token.id))
        if not new:
            return None
        self._text += new
        if self._reading.stops.cut(self._text) is not None:
            return self._end("stop")
        told = len(self._text) - self._reading.stops.held(self._text)
        return self._told(told) if told else None

    def cut(self) -> Delta:
        """All that was held back."""
        return self._end("length")

    def _end(self, reason: FinishReason) -> Delta:
        self.finished = True
        self._text += self._characters.decode(b"", final=True)
        stop = self._reading.stops.cut(self._text)  # half a character that ends here can complete one
        if stop is None:
            return self._told(len(self._text), reason)
        return self._told(stop, "stop")

    def _told(self, length: int, reason: FinishReason | None = None) -> Delta:
        delta = Delta(self._text[:length], self._tokens, tuple(self._logprobs), reason, *self._prompt)
        self._text, self._tokens, self._prompt = self._text[length:], 0, (0, 0)
        self._logprobs.clear()
        return delta


def _logprob(vocabulary: Vocabulary, token: Token, logprob: float) -> TokenLogprob:
    own = vocabulary.bytes_of(token.id)
    return TokenLogprob(
        token=own.decode(errors="replace"),
        bytes=tuple(own),
        logprob=logprob,
        top=tuple(_alternative(vocabulary.bytes_of(one), other) for one, other in token.top),
    )


def _alternative(own: bytes, logprob: float) -> Alternative:
    return Alternative(token=own.decode(errors="replace"), bytes=tuple(own), logprob=logprob)
