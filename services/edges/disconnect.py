"""Stops a handler whose HTTP client has gone.

ASGI tells of a disconnect only to whoever asks, and asking costs a task per request. Most requests end long before
anyone hangs up, so asking starts only once a request has run for a while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from services.core.errors import Code, ServingError

GRACE = 0.05
"""Seconds a request runs before its client is watched."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Within, the current task is cancelled when the client goes; that leaves here as CANCELLED.

    The request's body must have been read: after it, ``receive`` only ever tells of the disconnect.
    """
    handler = asyncio.current_task()
    watcher: asyncio.Task[None] | None = None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if handler:
            handler.cancel()

    def start() -> None:
        nonlocal watcher
        watcher = asyncio.ensure_future(watch())

    timer = asyncio.get_running_loop().call_later(GRACE, start)
    try:
        yield
    except asyncio.CancelledError:
        if gone and handler and handler.uncancel() == 0:
            raise ServingError(Code.CANCELLED, "The client closed the connection.") from None
        raise
    finally:
        timer.cancel()
        if watcher:
            watcher.cancel()
