"""REST from Task records: one POST route per method, and the pages every server has.

Decodes, calls, encodes; a streamed answer is server-sent events (`events`). Answers are serialised straight from the
record: no second validation, no dictionary.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from services import __version__
from services.core.adapters import Adapter
from services.core.catalog import Catalog
from services.core.errors import Code, ServingError, invalid, unknown_field
from services.core.inference import Backend
from services.core.schema import Request
from services.core.settings import Settings
from services.core.task import Kind, Task
from services.core.telemetry import Meter
from services.edges import announce
from services.edges.disconnect import CancelledOnDisconnect
from services.edges.endpoint import REQUEST_ID, VIA, Endpoint, request_id
from services.edges.event_stream import EventStream
from services.edges.status import WIRE, error_body, retry_after, too_large

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
Adapters = Callable[[], Sequence[Adapter]]
"""The adapters there are now; may read files."""

_LARGE = 65_536
_ESCAPES = 6
"""What a gateway forwards may be this much longer than what it took: JSON writes a control character as six."""


class RestApp(FastAPI):
    """FastAPI whose method routes are found in one dictionary look-up, before its middlewares.

    Those catch what handlers raise, and handlers here raise nothing: `Endpoint` has the last word. Skipping them
    halves the cost of a small request. Hand-made routes of a task are ordinary FastAPI routes.
    """

    def __init__(self) -> None:
        super().__init__(
            title="Chorale",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )
        self.add_exception_handler(HTTPException, _unmatched)
        self.handlers: dict[str, Handler] = {}
        self.endpoints: dict[str, Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] == "http" and scope["method"] == "POST" and (handler := self.handlers.get(_path(scope))):
            response = await handler(HttpRequest(scope, receive))
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def refusal(self, path: str, raw_headers: list[tuple[bytes, bytes]]) -> HttpResponse | None:
        """The answer to a POST that is refused before it is read, if it is: for servers that ask."""
        if endpoint := self.endpoints.get(path):
            headers = _headers(raw_headers)
            if error := endpoint.refusal(headers):
                return error_response(error, request_id(headers))
        return None


def build_rest_app(
    tasks: Sequence[Task],
    backend: Backend,
    catalog: Catalog,
    meter: Meter,
    settings: Settings,
    adapters: Adapters = tuple,
) -> RestApp:
    """The REST application of these tasks, for mounting at ``/`` or below any prefix."""
    app = RestApp()
    for task in tasks:
        for method in task.methods:
            if make := _HANDLERS.get(method.kind):
                endpoint = Endpoint(task, method, "rest", backend, meter, settings)
                app.endpoints[method.route] = endpoint
                app.handlers[method.route] = handler = make(endpoint, settings.max_request_bytes)
                app.router.add_route(method.route, handler, methods=["POST"])
    _add_pages(app, tasks, backend, catalog, meter)
    app.router.add_route("/v1/models", _models(catalog, adapters), methods=["GET"])
    return app


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; of a repeated one the first."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def _path(scope: Scope) -> str:
    """The path below the prefix the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _unary(endpoint: Endpoint, max_bytes: int) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        headers = _headers(request.scope["headers"])
        identity = request_id(headers)
        try:
            with CancelledOnDisconnect(request.scope):
                response = await endpoint(identity, headers, _decoder(endpoint, request, headers, max_bytes))
        except ServingError as error:
            return error_response(error, identity)
        content = response.__pydantic_serializer__.to_json(response, exclude_none=True)
        return HttpResponse(content, media_type="application/json", headers={REQUEST_ID: identity})

    return handle


def _server_stream(endpoint: Endpoint, max_bytes: int) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        headers = _headers(request.scope["headers"])
        identity = request_id(headers)
        parts = endpoint.stream(identity, headers, _decoder(endpoint, request, headers, max_bytes))
        try:
            with CancelledOnDisconnect(request.scope):
                first = await anext(parts, None)  # until it is there, an error still is an ordinary answer
        except ServingError as error:
            return error_response(error, identity)
        return EventStream(first, parts, identity)

    return handle


def _decoder(
    endpoint: Endpoint, request: HttpRequest, headers: Mapping[str, str], max_bytes: int
) -> Callable[[], Awaitable[Request]]:
    """Reads and makes the request."""

    async def decode() -> Request:
        _require_json(headers.get("content-type", ""), headers.get("content-encoding", ""))
        limit = max_bytes * (_ESCAPES if VIA in headers else 1)
        return _decode(await _read(request.receive, headers.get("content-length", ""), limit), endpoint.method.request)

    return decode


_HANDLERS = {Kind.UNARY: _unary, Kind.SERVER_STREAM: _server_stream}


def _require_json(content_type: str, encoding: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json") or encoding not in ("", "identity"):
        raise ServingError(
            Code.UNSUPPORTED_MEDIA, "Send the body as plain JSON with the header 'Content-Type: application/json'."
        )


async def _read(receive: Receive, length: str, limit: int) -> bytearray:
    """The body, read no further than ``limit`` bytes."""
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return body
    raise ServingError(Code.CANCELLED, "The client closed the connection before its request was whole.")


def _decode(body: bytearray, record: type[Request]) -> Request:
    if len(body) > _LARGE:
        _refuse_unknown_fields(body, record)
    try:
        return record.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def _refuse_unknown_fields(body: bytearray, record: type[Request]) -> None:
    """Pydantic collects one error per unknown field: seconds, for a large body made of them. This finds the first."""
    try:
        fields = from_json(body)
    except ValueError:
        return  # the decoder proper says what is wrong
    if isinstance(fields, dict) and (
        unknown := next((name for name in fields if name not in record.model_fields), None)
    ):
        raise unknown_field(unknown)


def error_response(error: ServingError, identity: str) -> HttpResponse:
    """The native error body with its status."""
    wire = WIRE[error.code]
    headers = {REQUEST_ID: identity}
    if (seconds := retry_after(error)) is not None:
        headers["retry-after"] = seconds
    return HttpResponse(error_body(error, identity), wire.http, headers, media_type="application/json")


async def _unmatched(request: HttpRequest, error: Exception) -> HttpResponse:
    """Unknown routes (404) and wrong verbs (405, with the right ones in ``Allow``), in the native shape."""
    status, headers = (error.status_code, error.headers or {}) if isinstance(error, HTTPException) else (500, {})
    code = Code.NOT_FOUND if status == 404 else Code.INVALID_ARGUMENT
    message = f"No route {request.method} {request.url.path[:100]}; GET /v1/tasks lists what there is."
    response = error_response(ServingError(code, message), request_id(_headers(request.scope["headers"])))
    response.status_code = status
    response.headers.update(headers)
    return response


def _add_pages(app: FastAPI, tasks: Sequence[Task], backend: Backend, catalog: Catalog, meter: Meter) -> None:
    listing = _json(announce.tasks(tasks, catalog))
    schema = _json(announce.openapi(tasks, __version__))

    async def healthz(_: HttpRequest) -> HttpResponse:
        return _json({"status": "ok"})

    async def readyz(_: HttpRequest) -> HttpResponse:
        ready = dict(await backend.ready())
        return _json({"ready": all(ready.values()), "tasks": ready}, 200 if all(ready.values()) else 503)

    async def metrics(_: HttpRequest) -> HttpResponse:
        return HttpResponse(meter.exposition(), media_type="text/plain; version=0.0.4")

    pages: dict[str, Handler] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": metrics,
        "/v1/tasks": _constant(listing),
        "/openapi.json": _constant(schema),
    }
    for path, page in pages.items():
        app.router.add_route(path, page, methods=["GET"])


def _models(catalog: Catalog, adapters: Adapters) -> Handler:
    """Adapters come and go while the models stay."""

    async def page(_: HttpRequest) -> HttpResponse:
        return _json(announce.models(catalog, await asyncio.to_thread(adapters)))

    return page


def _constant(response: HttpResponse) -> Handler:
    async def page(_: HttpRequest) -> HttpResponse:
        return response

    return page


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    body = json.dumps(content, ensure_ascii=False).encode()
    return HttpResponse(body, status, headers, media_type="application/json")
