"""REST clients. Records go out and come back as JSON; callers that know no records send and get plain dictionaries."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, Unpack

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.clients.calls import Call, CallOptions, NeverBegunError, Retry, require
from services.clients.events import Events
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import AnswerT_co, Method
from services.edges.cards import ModelCard, TaskCard
from services.edges.status import read_error, read_foreign

URL = "http://127.0.0.1:8000"
"""Where ``chorale serve`` has REST unless told otherwise."""

_READY = "/readyz"

_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)

_Card = TypeVar("_Card", bound=BaseModel)
_Part = TypeVar("_Part")


class _Rest:
    """What both clients share: all but the waiting."""

    def __init__(self, url: str = URL, *, timeout: float = 60.0, retry: Retry | None = None) -> None:
        self.url = _checked(url)
        self._secure = httpx.URL(self.url).scheme == "https"  # reading the authorities takes longer than many calls
        self._timeout = timeout
        self._retry = retry or Retry()

    def _open(self, options: CallOptions, *, idempotent: bool = True) -> Call:
        return Call(self._retry, self._timeout, options, idempotent=idempotent)

    def _request(self, call: Call, route: str, body: bytes | None) -> dict[str, Any]:
        """What httpx is to send."""
        return {
            "method": "GET" if body is None else "POST",
            "url": self.url + route,
            "content": body,
            "headers": {**call.headers(), "content-type": "application/json"},
            "timeout": call.remaining(),
        }

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What became of the connection, as a `ServingError`."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error):
                raise ServingError(Code.UNAUTHENTICATED, f"{self.url}: {error}") from error
            message = f"No server answers at {self.url}; is it running?"
            raise ServingError(Code.UNAVAILABLE, message) from NeverBegunError(str(error))
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, f"{self.url} did not answer in time.") from error
        except httpx.RequestError as error:
            message = f"{self.url} closed the connection before its answer came."
            raise ServingError(Code.UNAVAILABLE, message) from error

    def _content(self, response: httpx.Response, content: bytes) -> bytes:
        # A server that is not ready says so with 503 and the body of one that is.
        if response.status_code == 200 or (response.status_code == 503 and content.startswith(b'{"ready"')):
            return content
        seconds = response.headers.get("retry-after")
        raise read_error(content, seconds) or read_foreign(
            response.status_code, self._stranger(response.status_code), seconds
        )

    def _stranger(self, status: int) -> str:
        """Something between, or another server altogether, answered."""
        return f"{self.url} answered {status}, but not as a Chorale server does; is the URL right?"

    def _fields(self, content: bytes) -> dict[str, Any]:
        return self._part(dict[str, Any], content)

    def _tasks_ready(self, content: bytes) -> dict[str, bool]:
        return self._part(dict[str, bool], content, "tasks")

    def _cards(self, card: type[_Card], field: str, content: bytes) -> tuple[_Card, ...]:
        return self._part(tuple[card, ...], content, field)  # type: ignore[valid-type]

    def _part(self, kind: type[_Part], content: bytes, field: str | None = None) -> _Part:
        """An answer, or one field of it."""
        try:
            answer = json.loads(content)
            return TypeAdapter(kind).validate_python(answer if field is None else answer[field])
        except (ValueError, KeyError, TypeError) as error:
            raise ServingError(Code.INTERNAL, self._stranger(200)) from error


class RestClient(_Rest):
    """Calls over REST; threads may share one. A context manager.

    Args:
        url: of the server; ``<url>/<task>`` goes to the replicas of one task, without a hop.
        timeout: seconds a call may take, all its tries together.
        retry: when calls are sent again.
    """

    def __init__(self, url: str = URL, *, timeout: float = 60.0, retry: Retry | None = None) -> None:
        super().__init__(url, timeout=timeout, retry=retry)
        self._http = httpx.Client(limits=_LIMITS, verify=self._secure)

    def call(self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]) -> AnswerT_co:
        """The answer to ``request``.

        Raises:
            ServingError: the server's; UNAVAILABLE or DEADLINE_EXCEEDED when none answered.
        """
        call = self._open(options, idempotent=method.idempotent)
        return _answer(method, self._send(call, method.route, _body(method, request)))

    def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> Iterator[AnswerT_co]:
        """The parts of the answer to ``request``, as they come; close the iterator to stop them.

        A call that was lost is sent again as long as no part had come. Raises as `call` does.
        """
        call, body = self._open(options, idempotent=method.idempotent), _body(method, request)
        begun = False
        while True:
            try:
                with self._told(), self._http.stream(**self._request(call, method.route, body)) as response:
                    if response.status_code != 200:
                        self._content(response, response.read())
                    events = Events(call)
                    for content in response.iter_bytes():
                        for data in events.feed(content):
                            begun = True
                            yield _answer(method, data)
                    events.end()
            except ServingError as error:
                if begun:
                    raise
                time.sleep(call.pause(error))
            else:
                return

    def post(
        self, route: str, body: Mapping[str, Any], *, idempotent: bool = False, **options: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """The answer to a body, both as JSON has them; ``idempotent`` as in `MethodCard`. Raises as `call` does."""
        call = self._open(options, idempotent=idempotent)
        return self._fields(self._send(call, route, json.dumps(body).encode()))

    def tasks(self, **options: Unpack[CallOptions]) -> tuple[TaskCard, ...]:
        """The tasks the server has. Raises as `call` does."""
        return self._cards(TaskCard, "tasks", self._send(self._open(options), "/v1/tasks"))

    def models(self, **options: Unpack[CallOptions]) -> tuple[ModelCard, ...]:
        """The models the server has. Raises as `call` does."""
        return self._cards(ModelCard, "data", self._send(self._open(options), "/v1/models"))

    def ready(self, **options: Unpack[CallOptions]) -> dict[str, bool]:
        """Whether each task can answer. Raises as `call` does."""
        return self._tasks_ready(self._send(self._open(options), _READY))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call, route: str, body: bytes | None = None) -> bytes:
        while True:
            try:
                with self._told(), self._http.stream(**self._request(call, route, body)) as response:
                    content = b"".join(_in_time(response, call))
                return self._content(response, content)
            except ServingError as error:
                time.sleep(call.pause(error))


class AsyncRestClient(_Rest):
    """`RestClient` for asyncio."""

    def __init__(self, url: str = URL, *, timeout: float = 60.0, retry: Retry | None = None) -> None:
        super().__init__(url, timeout=timeout, retry=retry)
        self._http = httpx.AsyncClient(limits=_LIMITS, verify=self._secure)

    async def call(self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]) -> AnswerT_co:
        """As `RestClient.call`."""
        call = self._open(options, idempotent=method.idempotent)
        return _answer(method, await self._send(call, method.route, _body(method, request)))

    async def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[AnswerT_co]:
        """As `RestClient.stream`."""
        call, body = self._open(options, idempotent=method.idempotent), _body(method, request)
        begun = False
        while True:
            try:
                with self._told():
                    async with self._http.stream(**self._request(call, method.route, body)) as response:
                        if response.status_code != 200:
                            self._content(response, await response.aread())
                        events = Events(call)
                        async for content in response.aiter_bytes():
                            for data in events.feed(content):
                                begun = True
                                yield _answer(method, data)
                        events.end()
            except ServingError as error:
                if begun:
                    raise
                await asyncio.sleep(call.pause(error))
            else:
                return

    async def post(
        self, route: str, body: Mapping[str, Any], *, idempotent: bool = False, **options: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """As `RestClient.post`."""
        call = self._open(options, idempotent=idempotent)
        return self._fields(await self._send(call, route, json.dumps(body).encode()))

    async def tasks(self, **options: Unpack[CallOptions]) -> tuple[TaskCard, ...]:
        """As `RestClient.tasks`."""
        return self._cards(TaskCard, "tasks", await self._send(self._open(options), "/v1/tasks"))

    async def models(self, **options: Unpack[CallOptions]) -> tuple[ModelCard, ...]:
        """As `RestClient.models`."""
        return self._cards(ModelCard, "data", await self._send(self._open(options), "/v1/models"))

    async def ready(self, **options: Unpack[CallOptions]) -> dict[str, bool]:
        """As `RestClient.ready`."""
        return self._tasks_ready(await self._send(self._open(options), _READY))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: Call, route: str, body: bytes | None = None) -> bytes:
        while True:
            try:
                with self._told():
                    async with asyncio.timeout(call.remaining()):
                        response = await self._http.request(**self._request(call, route, body))
                return self._content(response, response.content)
            except ServingError as error:
                await asyncio.sleep(call.pause(error))


def _in_time(response: httpx.Response, call: Call) -> Iterator[bytes]:
    """The body as it comes; httpx itself only bounds the time between two parts."""
    for part in response.iter_bytes():
        yield part
        if call.is_over:
            raise TimeoutError


def _checked(url: str) -> str:
    try:
        parts = httpx.URL(url)
        fit = parts.scheme in ("http", "https") and parts.host
    except httpx.InvalidURL:
        fit = False
    if not fit:
        raise ServingError(Code.INVALID_ARGUMENT, f"{url!r} is no URL of a server; give one such as {URL}.", "url")
    return url.rstrip("/")


def _body(method: Method[AnswerT_co], request: Request) -> bytes:
    require(method, request)
    return request.model_dump_json(exclude_unset=True).encode()


def _answer(method: Method[AnswerT_co], content: bytes) -> AnswerT_co:
    try:
        return method.response.model_validate_json(content, extra="ignore")  # the server may be newer than the client
    except ValidationError as error:
        raise ServingError(Code.INTERNAL, f"The server's answer is no {method.response.__name__}.") from error
