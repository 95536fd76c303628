"""Hearing a live stream: chunks of samples -> stretches of speech, in a task of its own, no further ahead than needed.

Knows chunks and stretches. Does not know what is done with them, nor who sends them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from services.core.audio import PcmStream
from services.core.errors import ServingError
from services.tasks.asr.voice import Listener, Stretch

_WAITING = 4
"""Stretches that may have ended and not been taken; then no more is heard."""

Aside = Callable[[Callable[[], None]], Awaitable[None]]
"""Does what takes time, off the event loop."""


class Hearing:
    """What was heard of one stream.

    Args:
        stream: makes samples of chunks.
        listener: finds stretches in them.
        aside: where both happen.
    """

    def __init__(self, stream: PcmStream, listener: Listener, aside: Aside) -> None:
        self._stream = stream
        self._listener = listener
        self._aside = aside
        self._ended: deque[Stretch] = deque()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.news = asyncio.Event()
        """Set when there is more to look at."""
        self.under_way: Stretch | None = None
        """What is being said."""
        self.settled: Stretch | None = None
        """The same, if it seems to be over: unless more is said in time, it will have ended as this."""

    @property
    def position(self) -> float:
        """Seconds of sound that were heard."""
        return self._listener.heard

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self._task is not None and self._task.done()

    @property
    def has_ended(self) -> bool:
        """Whether a stretch has."""
        return bool(self._ended)

    def take(self) -> Stretch:
        """The first stretch that has ended."""
        self._room.set()
        return self._ended.popleft()

    @asynccontextmanager
    async def of(self, chunks: AsyncGenerator[bytes]) -> AsyncIterator[Self]:
        """Hear these chunks; at the end, raise what was wrong with them.

        Raises:
            ServingError: as `PcmStream`, or ``chunks``, do.
        """
        self._task = asyncio.create_task(self._hear(chunks))
        self._task.add_done_callback(lambda _: self.news.set())
        try:
            yield self
            await self._task
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _hear(self, chunks: AsyncGenerator[bytes]) -> None:
        try:
            async for chunk in chunks:
                await self._do(partial(self._feed, chunk))
        except ServingError:
            await self._do(self._finish)  # what was said until then is not lost
            raise
        await self._do(self._finish)

    async def _do(self, work: Callable[[], None]) -> None:
        while len(self._ended) >= _WAITING:
            self._room.clear()
            await self._room.wait()
        await asyncio.shield(self._aside(work))
        self.news.set()

    def _feed(self, chunk: bytes) -> None:
        self._ended.extend(self._listener.feed(self._stream.feed(chunk)))
        self._look()

    def _finish(self) -> None:
        self._ended.extend([*self._listener.feed(self._stream.flush()), *self._listener.flush()])
        self._look()

    def _look(self) -> None:
        self.under_way, self.settled = self._listener.under_way(), self._listener.settled()
