"""Handlers of POST routes: read, call, answer, for a task's own routes and its dialects alike.

What a route's bodies and answers look like is its `Dialect`'s; time, counts and errors are the `Endpoint`'s.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from services.core.bodies import read_body
from services.core.dialect import Call, Dialect, UploadDialect, Writer
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.settings import Settings
from services.edges.answers import answer_response, error_response
from services.edges.disconnect import CancelledOnDisconnect
from services.edges.endpoint import Endpoint, request_id
from services.edges.event_stream import EventStream
from services.edges.multipart import MEDIA
from services.edges.native import to_json
from services.edges.requests import is_form, read_form, read_headers, read_json

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def unary(endpoint: Endpoint, max_bytes: int) -> Handler:
    """Answers a whole native call. So would `any_call`, at twice the cost: 150 us where this takes 72."""

    async def handle(request: HttpRequest) -> HttpResponse:
        headers = read_headers(request.scope["headers"])
        identity = request_id(headers)

        async def decode() -> Request:
            return read_body(await read_json(request.receive, headers, max_bytes), endpoint.method.request)

        try:
            with CancelledOnDisconnect(request.scope):
                answer = await endpoint(identity, headers, decode)
        except ServingError as error:
            return error_response(error, identity)
        return answer_response(to_json(answer), identity)

    return handle


def any_call(endpoint: Endpoint, dialect: Dialect, settings: Settings) -> Handler:
    """Answers whatever a body of this dialect asks for."""
    body_class = _UploadBody if isinstance(dialect, UploadDialect) else _Body

    async def handle(request: HttpRequest) -> HttpResponse:
        headers = read_headers(request.scope["headers"])
        body = body_class(request, headers, settings, dialect)
        if body.is_form and (refusal := endpoint.refusal(headers)):  # before half a gigabyte is read
            return error_response(refusal, body.identity)
        answers = endpoint.answer(body.identity, headers, body.decode)
        try:
            with CancelledOnDisconnect(request.scope):
                first = await anext(answers, None)  # until it is there, an error still is an ordinary answer
                rest = [] if body.is_streamed else [answer async for answer in answers]
        except ServingError as error:
            return error_response(error, body.identity)
        if body.is_streamed:
            return EventStream(first, answers, body.identity, body.writer)
        return answer_response(body.writer.whole([first, *rest] if first else rest), body.identity, body.writer.media)

    return handle


class _Body:
    """One request's, and what it turns out to be once it has been read: under the eyes of `Endpoint`."""

    writer: Writer
    is_streamed: bool
    is_form = False

    def __init__(self, request: HttpRequest, headers: Mapping[str, str], settings: Settings, dialect: Dialect) -> None:
        self.identity = request_id(headers)
        self._request = request
        self._headers = headers
        self._settings = settings
        self._dialect = dialect

    async def decode(self) -> Call:
        """Read it."""
        call, self.writer = await self._decode()
        self.is_streamed = call.is_streamed
        return call

    async def _decode(self) -> tuple[Call, Writer]:
        content = await read_json(self._request.receive, self._headers, self._settings.max_request_bytes)
        return self._dialect.decode(content, self.identity)


class _UploadBody(_Body):
    """One that may be a form."""

    _dialect: UploadDialect

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_form = is_form(self._headers)

    async def _decode(self) -> tuple[Call, Writer]:
        if not self.is_form:
            return await self._decode_json()
        form = await read_form(self._request.receive, self._headers, self._settings)
        return self._dialect.decode_form(form, self.identity)

    async def _decode_json(self) -> tuple[Call, Writer]:
        try:
            return await super()._decode()
        except ServingError as error:
            if error.code is not Code.UNSUPPORTED_MEDIA:
                raise
            message = f"Send plain JSON, or a form: {MEDIA} with the file as one of its parts."
            raise ServingError(error.code, message) from None
