"""The WebSocket side of `http_server`: uvicorn's, with what it lacks.

A handler is told when its client goes, as on HTTP, also while what it sent waits to be taken. A client that sends
control frames and reads no answers is no longer read. A handshake that cannot be read is refused, not kept. On
shutdown, live calls have the same time as others to end.
"""

import asyncio
import select
from typing import Any, ClassVar

from starlette.types import Message
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from services.edges.disconnect import ABORT, GONE, TELL

_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""What the kernel says of a connection that its client has closed; where it cannot say so, the next write finds out."""


class Socket(WebSocketsSansIOProtocol):
    """One client's connection, once it asks to become a WebSocket."""

    drain_seconds: ClassVar[float]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gone: Any = None

    def handle_connect(self, event: Request) -> None:
        """A handshake."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][GONE] = {TELL: self._tell, ABORT: self.transport.abort}

    def data_received(self, data: bytes) -> None:
        """Feed the parser; the first data is the whole head of the handshake."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(_UNREADABLE)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: tell the handler that is at work for it."""
        super().connection_lost(exc)
        if self._gone:
            self._gone()

    def close_if_gone(self) -> None:
        """Nobody reads while messages wait to be taken: look whether there still is somebody who sent them."""
        if (self.read_paused or not self.writable.is_set()) and not self.transport.is_closing():
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), _HUNG_UP)
            if poll.poll(0):
                self.transport.abort()

    def pause_writing(self) -> None:
        """It does not read: neither are its pings, each of which would be answered."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """As ASGI has it, also when the connection was closed beneath the application."""
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)  # type: ignore[arg-type]

    def shutdown(self) -> None:
        """The server is to end: so is the call, in its time."""
        if self.close_sent:
            super().shutdown()
        else:
            asyncio.get_running_loop().call_later(self.drain_seconds, super().shutdown)

    def _tell(self, gone: Any) -> None:
        self._gone = gone
