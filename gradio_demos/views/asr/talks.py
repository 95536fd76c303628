"""Live streams of the people at the page: pieces of sound in, results out. Knows neither browsers nor Gradio."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from services.clients import AsyncRestClient, Code, ServingError
from services.core.context import new_request_id
from services.tasks.asr import STREAM_TRANSCRIBE, StreamTranscribeRequest, StreamTranscribeResponse

_AWAY = 5.0
"""Seconds without sound after which somebody has left."""

_KEPT = 60.0
"""Seconds for which what became of an ended stream can be asked."""

_MOST = 64
"""Streams at once, ended ones that are kept included."""

_AHEAD = 100
"""Pieces of sound that may wait for the server; who sends more is made to wait."""


@dataclass(frozen=True)
class News:
    """What became of a stream since it was last asked about.

    Args:
        results: those that came.
        is_over: whether no more will come.
        error: why, if something went wrong.
    """

    results: tuple[StreamTranscribeResponse, ...]
    is_over: bool
    error: ServingError | None


class Talk:
    """One live stream."""

    def __init__(self, client: AsyncRestClient, first: StreamTranscribeRequest) -> None:
        self._client = client
        self._first = first
        self._sound: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._results: list[StreamTranscribeResponse] = []
        self._error: ServingError | None = None
        self.task = asyncio.create_task(self._run())

    async def say(self, sound: bytes | None) -> None:
        """Some more sound; None, and it ends."""
        if not self.task.done():
            await self._sound.put(sound)

    async def end(self) -> None:
        """Wait until all that was said is written down."""
        await self.say(None)
        await asyncio.wait((self.task,))

    def news(self) -> News:
        """Since the last time."""
        results, self._results = tuple(self._results), []
        return News(results, self.task.done(), self._error)

    async def _run(self) -> None:
        try:
            async with aclosing(self._client.converse(STREAM_TRANSCRIBE, self._requests())) as answers:
                async for answer in answers:
                    self._results.append(answer)
        except ServingError as error:
            self._error = error

    async def _requests(self) -> AsyncGenerator[StreamTranscribeRequest]:
        yield self._first
        while (sound := await self._next()) is not None:
            if sound:
                yield StreamTranscribeRequest(audio=sound)

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(_AWAY):
                return await self._sound.get()
        except TimeoutError:
            return None


@dataclass(frozen=True)
class Talks:
    """All of them, by their ids, which only those who began them know."""

    client: AsyncRestClient
    _talks: dict[str, Talk] = field(default_factory=dict)

    def begin(self, first: StreamTranscribeRequest) -> str:
        """Open one; its id.

        Raises:
            ServingError: OVERLOADED.
        """
        if len(self._talks) >= _MOST:
            raise ServingError(Code.OVERLOADED, "Too many people speak at once; try again in a minute.")
        identity, loop = new_request_id(), asyncio.get_running_loop()
        talk = self._talks[identity] = Talk(self.client, first)
        talk.task.add_done_callback(lambda _: loop.call_later(_KEPT, self._talks.pop, identity, None))
        return identity

    def find(self, identity: str) -> Talk:
        """One that was begun.

        Raises:
            ServingError: NOT_FOUND.
        """
        if identity not in self._talks:
            raise ServingError(Code.NOT_FOUND, "This stream has ended; start again.")
        return self._talks[identity]
