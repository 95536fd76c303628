"""REST clients. Records go out and come back as JSON; callers that know no records send and get plain dictionaries."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Self, Unpack

import httpx

from services.clients.calls import Call, CallOptions, Retry
from services.clients.events import Events
from services.clients.rest_calls import URL, Body, RestCalls, answer_of, body_of, in_time, plain_body
from services.clients.talk import atalk, talk
from services.core.errors import ServingError
from services.core.schema import Request
from services.core.task import AnswerT_co, Method
from services.edges.cards import ModelCard, TaskCard
from services.edges.form_body import FormBody

__all__ = ["URL", "AsyncRestClient", "RestClient"]

_READY = "/readyz"

_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)


class RestClient(RestCalls):
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
        return answer_of(method, self._send(call, method.route, body_of(method, request)))

    def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> Iterator[AnswerT_co]:
        """The parts of the answer to ``request``, as they come; close the iterator to stop them.

        A call that was lost is sent again as long as no part had come. Raises as `call` does.
        """
        call, body = self._open(options, idempotent=method.idempotent), body_of(method, request)
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
                            yield answer_of(method, data)
                    events.end()
            except ServingError as error:
                if begun:
                    raise
                time.sleep(call.pause(error))
            else:
                return

    def converse(
        self, method: Method[AnswerT_co], requests: Iterable[Request], **options: Unpack[CallOptions]
    ) -> Iterator[AnswerT_co]:
        """The answers to ``requests`` while they still come; close the iterator to stop them.

        Requests are asked for on a thread of its own, once there is a connection. The call may take as long as the
        server lets it, unless an option says. Raises as `call` does, and what ``requests`` raise.
        """
        for data in talk(self.url, method, requests, self._open_live(options)):
            yield answer_of(method, data)

    def post(
        self, route: str, body: Mapping[str, Any], *, idempotent: bool = False, **options: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """The answer to a body, both as JSON has them; ``idempotent`` as in `MethodCard`. Raises as `call` does.

        A body may have a field of bytes: it then goes as a form, with a file.
        """
        call = self._open(options, idempotent=idempotent)
        return self._fields(self._send(call, route, plain_body(body)))

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

    def _send(self, call: Call, route: str, body: Body | None = None) -> bytes:
        while True:
            try:
                with self._told(), self._http.stream(**self._request(call, route, body)) as response:
                    content = b"".join(in_time(response, call))
                return self._content(response, content)
            except ServingError as error:
                time.sleep(call.pause(error))


class AsyncRestClient(RestCalls):
    """`RestClient` for asyncio."""

    def __init__(self, url: str = URL, *, timeout: float = 60.0, retry: Retry | None = None) -> None:
        super().__init__(url, timeout=timeout, retry=retry)
        self._http = httpx.AsyncClient(limits=_LIMITS, verify=self._secure)

    async def call(self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]) -> AnswerT_co:
        """As `RestClient.call`."""
        call = self._open(options, idempotent=method.idempotent)
        return answer_of(method, await self._send(call, method.route, body_of(method, request)))

    async def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[AnswerT_co]:
        """As `RestClient.stream`."""
        call, body = self._open(options, idempotent=method.idempotent), body_of(method, request)
        begun = False
        while True:
            try:
                with self._told():
                    async with self._http.stream(**_sent(self._request(call, method.route, body))) as response:
                        if response.status_code != 200:
                            self._content(response, await response.aread())
                        events = Events(call)
                        async for content in response.aiter_bytes():
                            for data in events.feed(content):
                                begun = True
                                yield answer_of(method, data)
                        events.end()
            except ServingError as error:
                if begun:
                    raise
                await asyncio.sleep(call.pause(error))
            else:
                return

    async def converse(
        self, method: Method[AnswerT_co], requests: AsyncIterable[Request], **options: Unpack[CallOptions]
    ) -> AsyncGenerator[AnswerT_co]:
        """As `RestClient.converse`."""
        async with aclosing(atalk(self.url, method, requests, self._open_live(options))) as answers:
            async for data in answers:
                yield answer_of(method, data)

    async def post(
        self, route: str, body: Mapping[str, Any], *, idempotent: bool = False, **options: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """As `RestClient.post`."""
        call = self._open(options, idempotent=idempotent)
        return self._fields(await self._send(call, route, plain_body(body)))

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

    async def _send(self, call: Call, route: str, body: Body | None = None) -> bytes:
        while True:
            try:
                with self._told():
                    async with asyncio.timeout(call.remaining()):
                        response = await self._http.request(**_sent(self._request(call, route, body)))
                return self._content(response, response.content)
            except ServingError as error:
                await asyncio.sleep(call.pause(error))


def _sent(request: dict[str, Any]) -> dict[str, Any]:
    """Forms are read in the way of asyncio: httpx would take the other one."""
    content = request["content"]
    return {**request, "content": aiter(content)} if isinstance(content, FormBody) else request
