"""Stops a handler whose HTTP client has gone.

ASGI tells of a disconnect only to whoever asks, and asking costs a task per request. Most requests end long before
anyone hangs up, so asking starts only once a request has run for a while.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from services.core.errors import Code, ServingError

GRACE = 0.05
"""Seconds a request runs before its client is watched."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class CancelledOnDisconnect:
    """Within, once started, the current task is cancelled when the client goes; that leaves here as CANCELLED."""

    __slots__ = ("_gone", "_handler", "_receive", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._handler = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def start(self) -> None:
        """The request's body has been read: from here ``receive`` only ever tells of the disconnect."""
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        if self._gone and self._handler and kind is asyncio.CancelledError and self._handler.uncancel() == 0:
            raise ServingError(Code.CANCELLED, "The client closed the connection.") from None

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._handler:
            self._handler.cancel()
