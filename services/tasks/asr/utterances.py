"""Utterances of a live stream: recognised while they are said, and once they have ended.

A final result is that of the whole utterance, as a recording's would be. As soon as an utterance seems to be over it
is recognised as if it were, so that its result is there when it is known to be.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from services.core.conversing import Submit
from services.core.errors import Code, ServingError
from services.core.speech import Recognition, Recognized
from services.tasks.asr.answering import AnswerWriter
from services.tasks.asr.hearing import Hearing
from services.tasks.asr.model import Model, item_of
from services.tasks.asr.schema import StreamConfig, StreamTranscribeResponse
from services.tasks.asr.voice import Stretch

_STEP = 0.2
"""Seconds of new sound that are worth an interim result."""

_REST = 1.5
"""Seconds of new sound for each second that the last interim result took: the slower they are, the fewer."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What an utterance is, if it is over."""

    stretch: Stretch
    found: "asyncio.Future[Recognized]"


class Utterances:
    """Those of one stream."""

    def __init__(
        self, model: Model, config: StreamConfig, recognition: Recognition, hearing: Hearing, submit: Submit
    ) -> None:
        self._writer = AnswerWriter(model.id, model.writer(config))
        self._interim = config.interim_results
        self._recognition = recognition
        self._hearing = hearing
        self._submit = submit
        self._guess: Guess | None = None
        self._step = _STEP
        self._tried = 0.0  # where the sound of the last interim result ended

    async def answers(self) -> AsyncGenerator[StreamTranscribeResponse]:
        """In order, until nothing more is heard."""
        hearing = self._hearing
        try:
            while hearing.has_ended or not hearing.is_over:
                answer = None
                if hearing.has_ended:
                    answer = await self._final(hearing.take())
                elif settled := self._settled():
                    answer = await self._guessed(settled)
                elif under_way := self._worth_a_look():
                    answer = await self._looked_at(under_way)
                else:
                    hearing.news.clear()
                    await hearing.news.wait()
                if answer:
                    yield answer
        finally:
            self._forget()

    def _settled(self) -> Stretch | None:
        """An utterance that seems to be over, and was not looked at since."""
        settled = self._hearing.settled
        return None if settled is None or (self._guess and self._guess.stretch == settled) else settled

    def _worth_a_look(self) -> Stretch | None:
        """The utterance under way, with enough that is new."""
        under_way = self._hearing.under_way
        if not self._interim or under_way is None or self._hearing.settled is not None:
            return None
        return under_way if under_way.end - max(under_way.start, self._tried) >= self._step else None

    async def _final(self, stretch: Stretch) -> StreamTranscribeResponse | None:
        guess, self._guess = self._guess, None
        if guess and guess.stretch == stretch:
            found = await guess.found
        else:
            _drop(guess)
            found = await self._submit(item_of(stretch, self._recognition))
        self._step, self._tried = _STEP, stretch.end
        return self._writer.final(found, stretch, self._hearing.position)

    async def _guessed(self, stretch: Stretch) -> StreamTranscribeResponse | None:
        self._forget()
        found = asyncio.ensure_future(self._submit(item_of(stretch, self._recognition)))
        self._guess = Guess(stretch, found)
        if not await self._in_time(found) or not self._interim:
            return None
        return self._writer.interim(found.result(), stretch, self._hearing.position)

    async def _looked_at(self, stretch: Stretch) -> StreamTranscribeResponse | None:
        started = time.monotonic()
        rough = replace(self._recognition, word_times=False, hypotheses=1)
        found = asyncio.ensure_future(self._submit(item_of(stretch, rough), patient=False))
        try:
            if not await self._in_time(found):
                return None
            return self._writer.interim(found.result(), stretch, self._hearing.position)
        except ServingError as error:
            if error.code is not Code.OVERLOADED:
                raise
            return None
        finally:
            found.cancel()
            self._tried = stretch.end
            self._step = max(_STEP, _REST * (time.monotonic() - started))

    async def _in_time(self, found: "asyncio.Future[Recognized]") -> bool:
        """Wait for a result, but not once an utterance has ended; whether it is there."""
        while not found.done() and not self._hearing.has_ended:
            self._hearing.news.clear()
            news = asyncio.ensure_future(self._hearing.news.wait())
            either: list[asyncio.Future[Any]] = [found, news]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        return found.done()

    def _forget(self) -> None:
        guess, self._guess = self._guess, None
        _drop(guess)


def _drop(guess: Guess | None) -> None:
    """Nobody asks for it any more."""
    if guess and not guess.found.cancel():
        guess.found.exception()  # seen here, so that nobody complains
