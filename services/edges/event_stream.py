"""Sends a streamed answer over HTTP, and gives up a client that has gone or reads no more. Knows ASGI and no task."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from services.core.dialect import Writer
from services.core.errors import Code, ServingError
from services.core.schema import Response
from services.edges.disconnect import CancelledOnDisconnect, hang_up
from services.edges.endpoint import REQUEST_ID, taken
from services.edges.events import DONE, MEDIA, event
from services.edges.status import error_body


class EventStream(HttpResponse):
    """A streamed answer on its way: ``first``, then what ``parts`` brings, as ``writer`` writes it."""

    def __init__(self, first: Response | None, parts: AsyncGenerator[Response], identity: str, writer: Writer) -> None:
        super().__init__(media_type=MEDIA, headers={REQUEST_ID: identity, "cache-control": "no-cache"})
        del self.headers["content-length"]
        self._part = first
        self._parts = parts
        self._identity = identity
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; an error on the way is the last event."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            with CancelledOnDisconnect(scope):
                last = await self._send_parts(send)
                await taken(send({"type": "http.response.body", "body": event(last)}))
        except ServingError:  # it has gone, or reads no more
            hang_up(scope)

    async def _send_parts(self, send: Send) -> bytes:
        """Returns the last event: that all is sent, or what has failed."""
        try:
            async with aclosing(self._parts):
                while self._part is not None:
                    await _send_events(send, self._writer.part(self._part))
                    await asyncio.sleep(0)  # a turn for others, and for the transport to say that it is full
                    self._part = await anext(self._parts, None)
                await _send_events(send, self._writer.end())
        except ServingError as error:
            if error.code is Code.CANCELLED:
                raise
            return error_body(error, self._identity)
        return DONE


async def _send_events(send: Send, contents: Iterable[bytes]) -> None:
    if body := b"".join(map(event, contents)):
        await taken(send({"type": "http.response.body", "body": body, "more_body": True}))
