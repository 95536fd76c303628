"""A replica's REST server: ours in the place of Serve's, on the port and with the life Serve gives it.

Serve puts every request through an ingress of its own: two more tasks, a second request id, metrics and a log record,
0.15 ms of CPU in all, more than everything Chorale does for a small request. What that ingress is for (admission,
deadlines, disconnects, metrics) our edges do themselves, alike on every protocol. So requests below our prefix go
straight to our application, and only Serve's own pages (``/-/healthz``, which HAProxy asks) go on to Serve. Draining
stays Serve's: it closes this server and waits for the requests under way.

The name changed here is private to Ray 2.60. Were it to move, requests would take Serve's way again: a test notices.
"""

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.core.settings import Settings
from services.runtime.http_server import Application, make_server


class Ingress:
    """Our application below ``prefix``, Serve's pages beside it."""

    def __init__(self, app: Application, prefix: str, pages: ASGIApp) -> None:
        self._app = app
        self._prefix = prefix
        self._below = f"{prefix}/"
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        path: str = scope["path"]
        if path.startswith(self._below) and not path.startswith("/-/"):
            scope["root_path"] = self._prefix
            await self._app(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    def refusal(self, path: str, raw_headers: list[tuple[bytes, bytes]]) -> Response | None:
        """Our application's, for what is below the prefix."""
        if not path.startswith(self._below):
            return None
        return self._app.refusal(path.removeprefix(self._prefix), raw_headers)


def serve_directly(app: Application, prefix: str, settings: Settings) -> None:
    """In a replica's ``__init__``: let ``app`` answer what comes to the replica's HTTP port below ``prefix``."""
    from ray.serve._private import replica

    async def start(
        pages: ASGIApp, options: Any, *, event_loop: asyncio.AbstractEventLoop, **_: Any
    ) -> tuple[asyncio.Task[None], uvicorn.Server]:
        listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            listener.close()
            raise RuntimeError(f"cannot listen on {options.host}:{options.port}") from error  # Serve tries the next
        server = make_server(Ingress(app, prefix, pages), settings, lifespan="off", log_config=None)
        return event_loop.create_task(server.serve(sockets=[listener])), server

    replica.start_asgi_http_server = start
