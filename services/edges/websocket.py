"""WebSocket handlers, for live calls over HTTP.

    client   {"model": …}    one request: the record as JSON
    client   <bytes>         one request: the record's field of bytes
    client   {"end": true}   no more requests; a WebSocket can only be closed as a whole
    server   {"model": …}    one answer
    server   {"error": …}    the native error body; the last message
    server   close           1000, or after an error 1008 (the caller's), 1011 (ours), 1013 (try again later)

Knows ASGI and no task. Source: RFC 6455.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from services.core.bodies import read_body
from services.core.errors import Code, ServingError, invalid
from services.core.schema import Request, bytes_field
from services.core.settings import Settings
from services.edges.answers import error_response
from services.edges.disconnect import CancelledOnDisconnect, hang_up
from services.edges.endpoint import REQUEST_ID, VIA, Endpoint, request_id, taken
from services.edges.native import to_json
from services.edges.origins import Origins
from services.edges.requests import read_headers
from services.edges.status import error_body, too_large

WebSocketHandler = Callable[[Scope, Receive, Send], Awaitable[None]]

END = '{"end": true}'
"""What clients say when they have no more requests."""

LARGEST = 2
"""Times the limit of a message that servers let through to here, so that it gets the error it gets elsewhere. What a
gateway forwards may be so much longer than what it took: JSON writes bytes as base64."""

_OK, _POLICY, _INTERNAL, _LATER = 1000, 1008, 1011, 1013

_CLOSE = {Code.INTERNAL: _INTERNAL, Code.OVERLOADED: _LATER, Code.UNAVAILABLE: _LATER}

_ENDS = frozenset({END, '{"end":true}'})


def websocket(endpoint: Endpoint, settings: Settings) -> WebSocketHandler:
    """Answers live calls."""
    origins = Origins(settings.allowed_origins, settings.host)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        headers = read_headers(scope["headers"])
        if not origins.allow(headers.get("origin"), headers.get("host", "")):
            message = "This web page may not use this server; its operator can add it to CHORALE_ALLOWED_ORIGINS."
            await reject(scope, send, ServingError(Code.PERMISSION_DENIED, message))
            return
        limit = settings.max_request_bytes * (LARGEST if VIA in headers else 1)
        await _Conversation(endpoint, headers, limit).run(scope, receive, send)

    return handle


async def reject(scope: Scope, send: Send, error: ServingError) -> None:
    """Answer a handshake by an ordinary HTTP error."""
    response = error_response(error, request_id(read_headers(scope["headers"])))
    start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})


class _Conversation:
    """One call."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], max_bytes: int) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._identity = request_id(headers)
        self._max_bytes = max_bytes
        self._record = endpoint.method.request
        self._bytes_field = bytes_field(self._record)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it; an error on the way is the last message."""
        try:
            with CancelledOnDisconnect(scope):
                identity = (REQUEST_ID.encode(), self._identity.encode())
                await _say(send, {"type": "websocket.accept", "headers": [identity]})
                code = await self._converse(receive, send)
                await _say(send, {"type": "websocket.close", "code": code})
        except ServingError:  # it has gone, or reads no more
            hang_up(scope)

    async def _converse(self, receive: Receive, send: Send) -> int:
        """Returns the code to close with."""
        try:
            if refusal := self._endpoint.refusal(self._headers):
                raise refusal
            answers = self._endpoint.converse(self._identity, self._headers, self._requests(receive))
            async with aclosing(answers):
                async for answer in answers:
                    await _say(send, {"type": "websocket.send", "text": to_json(answer).decode()})
        except ServingError as error:
            if error.code is Code.CANCELLED:
                raise
            await _say(send, {"type": "websocket.send", "text": error_body(error, self._identity).decode()})
            return _CLOSE.get(error.code, _POLICY)
        return _OK

    async def _requests(self, receive: Receive) -> AsyncGenerator[Request]:
        """One message is read when one is asked for: what is not, stays in the connection and slows its sender."""
        while True:
            message = await receive()
            if message["type"] == "websocket.connect":
                continue
            if message["type"] == "websocket.disconnect":
                raise _gone()
            text = message.get("text")
            if text in _ENDS:
                return
            yield self._from_bytes(message["bytes"]) if text is None else self._from_text(text)

    def _from_text(self, text: str) -> Request:
        data = text.encode()
        self._require_short(data)
        return read_body(data, self._record)

    def _from_bytes(self, data: bytes) -> Request:
        self._require_short(data)
        if self._bytes_field is None:
            raise ServingError(Code.INVALID_ARGUMENT, "Send requests as JSON text; they have no field of bytes.")
        try:
            return self._record.model_validate({self._bytes_field: bytes(data)})
        except ValidationError as error:
            raise invalid(error) from error

    def _require_short(self, data: bytes) -> None:
        if len(data) > self._max_bytes:
            raise too_large(self._max_bytes)


async def _say(send: Send, message: dict[str, Any]) -> None:
    try:
        await taken(send(message))
    except OSError:  # what ASGI servers raise once the client has gone
        raise _gone() from None


def _gone() -> ServingError:
    return ServingError(Code.CANCELLED, "The client closed the connection.")
