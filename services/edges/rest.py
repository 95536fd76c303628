"""REST from Task records: POST routes for methods and dialects, WebSockets for live calls, and every server's pages.

What the routes do is in `handlers` and `websocket`.
"""

import asyncio
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from services import __version__
from services.core.adapters import AdapterLibrary
from services.core.catalog import Catalog
from services.core.dialect import Dialect
from services.core.errors import Code, ServingError
from services.core.inference import Backend
from services.core.settings import Settings
from services.core.task import Kind, Task
from services.core.telemetry import Meter
from services.edges import announce, openapi
from services.edges.answers import error_response, json_response
from services.edges.endpoint import Endpoint, request_id
from services.edges.handlers import Handler, any_call, unary
from services.edges.native import Native, NativeUpload, routes_of
from services.edges.requests import read_headers
from services.edges.websocket import WebSocketHandler, reject, websocket


class RestApp(FastAPI):
    """FastAPI whose method routes are found in one dictionary look-up, before its middlewares.

    Those catch what handlers raise, and handlers here raise nothing: `Endpoint` has the last word. Skipping them
    halves the cost of a small request. Pages are ordinary FastAPI routes.
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
        self.sockets: dict[str, WebSocketHandler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] == "http" and scope["method"] == "POST" and (handler := self.handlers.get(_path(scope))):
            response = await handler(HttpRequest(scope, receive))
            await response(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.sockets.get(_path(scope), _no_socket)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def refusal(self, path: str, raw_headers: list[tuple[bytes, bytes]]) -> HttpResponse | None:
        """The answer to a POST that is refused before it is read, if it is: for servers that ask."""
        if endpoint := self.endpoints.get(path):
            headers = read_headers(raw_headers)
            if error := endpoint.refusal(headers):
                return error_response(error, request_id(headers))
        return None


def build_rest_app(
    tasks: Sequence[Task],
    backend: Backend,
    catalog: Catalog,
    meter: Meter,
    settings: Settings,
) -> RestApp:
    """The REST application of these tasks, for mounting at ``/`` or below any prefix."""
    app = RestApp()
    for task in tasks:
        for dialect in routes_of(task):
            endpoint = Endpoint(task, dialect.method, "rest", backend, meter, settings)
            app.endpoints[dialect.route] = endpoint
            app.handlers[dialect.route] = handler = _handler(endpoint, dialect, settings)
            app.router.add_route(dialect.route, handler, methods=["POST"])
        for method in task.methods:
            if method.kind is Kind.BIDI:
                endpoint = Endpoint(task, method, "rest", backend, meter, settings)
                app.sockets[method.route] = websocket(endpoint, settings)
    _add_pages(app, tasks, backend, catalog, meter)
    library = AdapterLibrary(settings.home)
    app.router.add_route("/v1/models", _models(catalog, library), methods=["GET"])
    app.router.add_route("/v1/models/{model:path}", _model(catalog, library), methods=["GET"])
    return app


def _handler(endpoint: Endpoint, dialect: Dialect, settings: Settings) -> Handler:
    is_plain = isinstance(dialect, Native) and not isinstance(dialect, NativeUpload)
    if is_plain and dialect.method.kind is Kind.UNARY:
        return unary(endpoint, settings.max_request_bytes)
    return any_call(endpoint, dialect, settings)


def _path(scope: Scope) -> str:
    """The path below the prefix the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


async def _no_socket(scope: Scope, _: Receive, send: Send) -> None:
    await reject(scope, send, _no_route("WebSocket", scope["path"]))


def _no_route(method: str, path: str) -> ServingError:
    return ServingError(Code.NOT_FOUND, f"No route {method} {path[:100]}; GET /v1/tasks lists what there is.")


async def _unmatched(request: HttpRequest, error: Exception) -> HttpResponse:
    """Unknown routes (404) and wrong verbs (405, with the right ones in ``Allow``), in the native shape."""
    status, headers = (error.status_code, error.headers or {}) if isinstance(error, HTTPException) else (500, {})
    found = _no_route(request.method, request.url.path)
    code = found.code if status == 404 else Code.INVALID_ARGUMENT
    response = error_response(ServingError(code, found.message), request_id(read_headers(request.scope["headers"])))
    response.status_code = status
    response.headers.update(headers)
    return response


def _add_pages(app: FastAPI, tasks: Sequence[Task], backend: Backend, catalog: Catalog, meter: Meter) -> None:
    listing = json_response(announce.tasks(tasks, catalog))
    schema = json_response(openapi.document(tasks, __version__))

    async def healthz(_: HttpRequest) -> HttpResponse:
        return json_response({"status": "ok"})

    async def readyz(_: HttpRequest) -> HttpResponse:
        ready = dict(await backend.ready())
        return json_response({"ready": all(ready.values()), "tasks": ready}, 200 if all(ready.values()) else 503)

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


def _models(catalog: Catalog, library: AdapterLibrary) -> Handler:
    """Adapters come and go while the models stay."""

    async def page(_: HttpRequest) -> HttpResponse:
        return json_response(announce.models(catalog, await asyncio.to_thread(library.list)))

    return page


def _model(catalog: Catalog, library: AdapterLibrary) -> Handler:
    async def page(request: HttpRequest) -> HttpResponse:
        try:
            found = await asyncio.to_thread(announce.model, request.path_params["model"], catalog, library)
        except ServingError as error:
            return error_response(error, request_id(read_headers(request.scope["headers"])))
        return json_response(found)

    return page


def _constant(response: HttpResponse) -> Handler:
    async def page(_: HttpRequest) -> HttpResponse:
        return response

    return page
