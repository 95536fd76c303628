"""The gateway's Backend: each call goes on to the task's own REST lane, through the node's HAProxy.

Measured against a Serve deployment handle, the hop costs less than half: no pickling, no router in Python, and HAProxy
already knows every replica's address and health. Deadline, priority and request id travel as the headers any client
would send, errors as the native error body; a caller that goes away closes the connection, which cancels the work.
A call that found no replica, or lost its own, is sent again within its deadline, if its method allows.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, Self

import aiohttp

from services.core.context import CallContext
from services.core.dialect import JSON
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Method, Task
from services.edges.events import EventReader, failure
from services.edges.form_body import FormBody, form_of
from services.runtime.lane_calls import headers_of, in_time, persist, require_ok, told, unavailable
from services.runtime.lane_talk import Talk

_JSON = {"content-type": JSON}

_CONNECTIONS = 2048

_PROBE_SECONDS = 2.0
"""Between two looks at the tasks while all are ready, and the time each has to answer."""


class _Body(NamedTuple):
    """A request as it is written, and the headers that say how."""

    content: bytes | FormBody
    headers: dict[str, str]


class LaneBackend:
    """Forwards to ``/<task>/v1/…``. Create it inside a running event loop."""

    def __init__(self, tasks: Sequence[Task], settings: Settings) -> None:
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104
        self._base = f"http://{host}:{settings.rest_port}"
        self._tasks = tuple(task.name for task in tasks)
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        self._found: Mapping[str, bool] = dict.fromkeys(self._tasks, False)

    async def infer(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        """The answer of a replica. No replica to answer is UNAVAILABLE: worth a retry."""
        call = partial(self._post, self._url(task, method), _body(request), context)
        answer = await in_time(context, persist(call, idempotent=method.idempotent))
        return method.response.model_validate_json(answer)

    async def stream(
        self, task: Task, method: Method, request: Request, context: CallContext
    ) -> AsyncGenerator[Response]:
        """The parts of a replica's answer. Once the first is there, the loss of the replica is UNAVAILABLE."""
        call = partial(self._begin, self._url(task, method), _body(request), context)
        events, data = await in_time(context, persist(call, idempotent=method.idempotent))
        with events:
            while data is not None:
                yield method.response.model_validate_json(data)
                data = await in_time(context, events.next())

    async def converse(
        self, task: Task, method: Method, requests: AsyncGenerator[Request], context: CallContext
    ) -> AsyncGenerator[Response]:
        """A replica's answers while requests still come. Once it takes them, its loss is UNAVAILABLE."""
        async with aclosing(requests):
            begin = partial(Talk.begin, self._session, self._url(task, method), context)
            socket = await in_time(context, persist(begin, idempotent=True))
            async with Talk(socket, requests) as talk:
                while (data := await talk.next()) is not None:
                    yield method.response.model_validate_json(data)

    def refusal(self, task: Task, method: Method, deadline: float) -> None:
        """Never: what waits is at the replicas, and they say so themselves."""

    async def ready(self) -> Mapping[str, bool]:
        """Whether each task answered when `watch` last asked."""
        return self._found

    async def watch(self, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Ask the tasks for ever, and tell whether all are ready before `ready` does."""
        while True:
            answers = await asyncio.gather(*map(self._ready, self._tasks))
            await tell(all(answers))
            self._found = dict(zip(self._tasks, answers, strict=True))
            await asyncio.sleep(_PROBE_SECONDS if all(answers) else 0.1)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _url(self, task: Task, method: Method) -> str:
        return f"{self._base}/{task.name}{method.route}"

    async def _post(self, url: str, body: _Body, context: CallContext) -> bytes:
        with told():
            async with self._session.post(
                url, data=body.content, headers=body.headers | headers_of(context)
            ) as response:
                answer = await response.read()
        require_ok(response, answer)
        return answer

    async def _begin(self, url: str, body: _Body, context: CallContext) -> tuple["_Events", bytes | None]:
        """A streamed answer and its first event, if it has any."""
        with told():
            response = await self._session.post(url, data=body.content, headers=body.headers | headers_of(context))
        events = _Events(response)
        try:
            if response.status != 200:
                with told():
                    require_ok(response, await response.read())
            return events, await events.next()
        except BaseException:  # cancelled, too: nobody else would close it
            events.close()
            raise

    async def _ready(self, task: str) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self._session.get(f"{self._base}/{task}/readyz") as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError):
            return False


class _Events:
    """The events of a streamed answer. A context manager: leaving it early tells the replica to stop."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._reader = EventReader()
        self._ready: deque[bytes] = deque()

    async def next(self) -> bytes | None:
        """The next event; None after the last. Raises the error that an event tells of."""
        while not self._ready and not self._reader.is_done:
            with told():
                data = await self._response.content.readany()
            if not data:
                raise unavailable()  # cut
            self._ready.extend(self._reader.feed(data))
        if not self._ready:
            return None
        data = self._ready.popleft()
        if error := failure(data):
            raise error
        return data

    def close(self) -> None:
        """Hang up, unless the answer has ended."""
        if self._reader.is_done:
            self._response.release()
        else:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _body(request: Request) -> _Body:
    if form := form_of(request):
        return _Body(form, form.headers)
    return _Body(request.__pydantic_serializer__.to_json(request, exclude_unset=True), _JSON)
