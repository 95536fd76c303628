"""The gateway's Backend: each call goes on to the task's own REST lane, through the node's HAProxy.

Measured against a Serve deployment handle, the hop costs less than half: no pickling, no router in Python, and HAProxy
already knows every replica's address and health. Deadline, priority and request id travel as the headers any client
would send, errors as the native error body; a caller that goes away closes the connection, which cancels the work.
A call that found no replica, or lost its own, is sent again within its deadline, if its method allows.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self, TypeVar

import aiohttp

from services.core.context import CallContext
from services.core.errors import Code, ServingError, too_late
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Method, Task
from services.edges.endpoint import PRIORITY, REQUEST_ID, TIMEOUT, VIA
from services.edges.events import EventReader, failure
from services.edges.status import read_error

T = TypeVar("T")

_CONNECTIONS = 2048

_PAUSES = (0.05, 0.1, 0.2, 0.4, *[0.8] * 8)
"""Seconds before each further try, give or take a half: long enough together for HAProxy or a replica to be back."""

_PROBE_SECONDS = 2.0
"""Between two looks at the tasks while all are ready, and the time each has to answer."""


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
        answer = await _in_time(context, _persist(call, idempotent=method.idempotent))
        return method.response.model_validate_json(answer)

    async def stream(
        self, task: Task, method: Method, request: Request, context: CallContext
    ) -> AsyncGenerator[Response]:
        """The parts of a replica's answer. Once the first is there, the loss of the replica is UNAVAILABLE."""
        call = partial(self._begin, self._url(task, method), _body(request), context)
        events, data = await _in_time(context, _persist(call, idempotent=method.idempotent))
        with events:
            while data is not None:
                yield method.response.model_validate_json(data)
                data = await _in_time(context, events.next())

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

    async def _post(self, url: str, body: bytes, context: CallContext) -> bytes:
        with _told():
            async with self._session.post(url, data=body, headers=_headers(context)) as response:
                answer = await response.read()
        _require_ok(response, answer)
        return answer

    async def _begin(self, url: str, body: bytes, context: CallContext) -> tuple["_Events", bytes | None]:
        """A streamed answer and its first event, if it has any."""
        with _told():
            response = await self._session.post(url, data=body, headers=_headers(context))
        events = _Events(response)
        try:
            if response.status != 200:
                with _told():
                    _require_ok(response, await response.read())
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
            with _told():
                data = await self._response.content.readany()
            if not data:
                raise _unavailable()  # cut
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


async def _persist(call: Callable[[], Awaitable[T]], *, idempotent: bool) -> T:
    """Call until there is an answer other than that nobody is there to give one, or patience ends."""
    for pause in _PAUSES:
        try:
            return await call()
        except ServingError as error:
            # A connection that was never made has done nothing yet; any other loss may have.
            untouched = isinstance(error.__cause__, aiohttp.ClientConnectorError)
            if error.code is not Code.UNAVAILABLE or not (idempotent or untouched):
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # spread, not secret
    return await call()


async def _in_time(context: CallContext, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(context.remaining()):
            return await work
    except TimeoutError:
        raise too_late() from None


@contextmanager
def _told() -> Iterator[None]:
    """What became of the connection, as a `ServingError`."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise _unavailable() from error


def _require_ok(response: aiohttp.ClientResponse, answer: bytes) -> None:
    if response.status != 200:
        raise read_error(answer, response.headers.get("retry-after")) or _unavailable()


def _body(request: Request) -> bytes:
    content: bytes = request.__pydantic_serializer__.to_json(request, exclude_unset=True)
    return content


def _headers(context: CallContext) -> dict[str, str]:
    return {
        "content-type": "application/json",
        REQUEST_ID: context.request_id,
        TIMEOUT: f"{max(0.0, context.remaining()):.6f}",
        PRIORITY: context.priority.name.lower(),
        VIA: context.protocol,
    }


def _unavailable() -> ServingError:
    return ServingError(Code.UNAVAILABLE, "No replica could answer; retry after the time given.", None, 1.0)
