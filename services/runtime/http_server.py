"""The uvicorn server of both runtimes, and what it does not put up with from clients.

uvicorn reads heads of any size for any time, on any number of connections. Here each has a limit: the head of a
request (bytes, and seconds until it is whole, also for a connection that sends nothing), and open connections. What is
refused gets the native error body. Bodies and answers are the edge's business, idle keep-alive is uvicorn's, and what
becomes a WebSocket is `websocket_server`'s.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.core.context import new_request_id
from services.core.errors import Code, ServingError
from services.core.settings import Settings
from services.edges.answers import error_response
from services.edges.disconnect import ABORT, GONE, TELL
from services.edges.websocket import LARGEST
from services.runtime.corked import CorkedTransport
from services.runtime.websocket_server import Socket

LAST_WORDS = 2
"""Seconds after the drain limit in which refused calls are still answered."""

_SHORT = 65_536
"""Bytes of a body that may still come once its request was refused; longer ones go the ordinary way."""

_SWEEP_TICKS = 10
"""Ticks of uvicorn, a tenth of a second each, between two looks for connections that are late."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}


@dataclass(frozen=True)
class Limits:
    """What a client may take."""

    connections: int
    head_bytes: int
    head_seconds: float


class Application(Protocol):
    """An ASGI application that can tell before a request is read that it will be refused."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

    def refusal(self, path: str, raw_headers: list[tuple[bytes, bytes]]) -> Response | None:
        """The answer to a POST that is refused, if it is."""


class Connection(HttpToolsProtocol):
    """One client's connection, within limits."""

    limits: ClassVar[Limits]
    application: ClassVar[Application]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, or refuse it."""
        super().connection_made(transport)
        self.transport = CorkedTransport(transport, self.loop)
        self._since: float | None = self.loop.time()  # the head under way began; none while a request is answered
        self._head = 0
        self._refused = False  # the request under way
        self._gone: Callable[[], None] | None = None
        if sock := transport.get_extra_info("socket"):
            # A client that vanished without a word is found out by the kernel.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if len(self.connections) > self.limits.connections:
            message = "Too many connections are open; retry after the time given."
            self._refuse(503, ServingError(Code.UNAVAILABLE, message, retry_after=1.0))

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that goes on and on is refused."""
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self._since is not None and self._head > self.limits.head_bytes and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._since = self.loop.time()
        self._refused = False

    def on_headers_complete(self) -> None:
        """The head is whole: let it in if it is not too long."""
        # Counted here, since what came with it may be body.
        length = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if length > self.limits.head_bytes:
            self._refuse_head()
            return
        self._head = 0
        if response := self._refusal():
            # The body, if any is to come, is read and dropped; the next head is awaited from now on.
            self._refused, self._since = True, self.loop.time()
            self._answer(response, close=not self.parser.should_keep_alive())
            return
        self._since = None
        self.scope["extensions"] = {GONE: {TELL: self._tell, ABORT: self.transport.abort}}
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte."""
        if not self._refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to `Socket`, unless it was refused."""
        if not self.transport.is_closing():
            if isinstance(self.transport, CorkedTransport):
                self.transport = self.transport.uncorked()
            super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: tell the handler that is at work for it."""
        super().connection_lost(exc)
        if self._gone:
            self._gone()

    def close_if_late(self, now: float) -> None:
        """Hang up on a client whose head is not whole in time."""
        if self._since is not None and now - self._since > self.limits.head_seconds:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read, in the native shape."""
        if not self.transport.is_closing():
            self._refuse(400, ServingError(Code.INVALID_ARGUMENT, msg))

    def _refuse_head(self) -> None:
        message = f"The request's headers are over {self.limits.head_bytes} bytes; send fewer or shorter ones."
        self._refuse(431, ServingError(Code.TOO_LARGE, message))

    def _tell(self, gone: Callable[[], None] | None) -> None:
        self._gone = gone

    def _refusal(self) -> Response | None:
        """The answer to a request whose body need not be read, unless answers before it are still to be sent."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.parser.get_method() != b"POST":
            return None
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        if not length.isdigit() or int(length) > _SHORT:
            return None
        return self.application.refusal(self.url.partition(b"?")[0].decode("latin-1"), self.headers)

    def _refuse(self, status: int, error: ServingError) -> None:
        self._refused = True  # what is left of its body in the parser is nobody's
        response = error_response(error, new_request_id())
        response.status_code = status
        self._answer(response, close=True)

    def _answer(self, response: Response, *, close: bool) -> None:
        head = [_STATUS_LINES[response.status_code]]
        headers = self.server_state.default_headers + response.raw_headers
        head += [name + b": " + value for name, value in headers]
        if close:
            head.append(b"connection: close")
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        if close:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn that tells when it listens, and leaves signals to us: its own way ends the process by the signal."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Now and then, hang up on who is late or gone: one look at all instead of a timer for each request."""
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.close_if_late(now)
                elif isinstance(connection, Socket):
                    connection.close_if_gone()
        return await super().on_tick(counter)

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signal handlers alone."""
        return nullcontext()


def make_server(app: Application, settings: Settings, **listen: Any) -> Server:
    """A server of ``app``; ``listen`` is uvicorn's host and port, where no socket is handed to it."""
    limits = Limits(settings.max_connections, settings.max_header_bytes, settings.header_seconds)
    config = uvicorn.Config(
        app,
        http=type("LimitedConnection", (Connection,), {"limits": limits, "application": app}),
        ws=type("DrainedSocket", (Socket,), {"drain_seconds": settings.drain_seconds}),
        ws_max_size=LARGEST * settings.max_request_bytes,
        ws_per_message_deflate=False,  # sound does not get smaller, and each connection would hold 300 kB for trying
        ws_ping_timeout=None,  # a client whose messages wait to be taken cannot be heard to answer
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + LAST_WORDS,
        **listen,
    )
    return Server(config)
