"""Stops a handler whose HTTP client has gone.

ASGI tells of a disconnect only to whoever asks, and asking costs a task per request. Our server (`runtime.http_server`)
tells by itself, through an extension of the scope; under another server a handler runs to its end.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from services.core.errors import Code, ServingError

GONE = "chorale.gone"
"""The extension."""

TELL = "tell"
"""In it, a function that takes what to call when the client goes, or None to be told no more."""

ABORT = "abort"
"""In it, a function that closes the connection at once, whatever is still to be sent."""


def hang_up(scope: MutableMapping[str, Any]) -> None:
    """Close the connection at once, if the server has told how."""
    scope.get("extensions", {}).get(GONE, {}).get(ABORT, _do_nothing)()


class CancelledOnDisconnect:
    """Within, the current task is cancelled when the client goes; that leaves here as CANCELLED."""

    __slots__ = ("_gone", "_handler", "_tell")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self._tell: Callable[[Callable[[], None] | None], None] = (
            scope.get("extensions", {}).get(GONE, {}).get(TELL, _no)
        )
        self._handler = asyncio.current_task()
        self._gone = False

    def __enter__(self) -> Self:
        self._tell(self._cancel)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._tell(None)
        if self._gone and self._handler and kind is asyncio.CancelledError and self._handler.uncancel() == 0:
            raise ServingError(Code.CANCELLED, "The client closed the connection.") from None

    def _cancel(self) -> None:
        self._gone = True
        if self._handler:
            self._handler.cancel()


def _do_nothing() -> None:
    """Nobody told."""


def _no(_: Callable[[], None] | None) -> None:
    """Nobody tells."""
