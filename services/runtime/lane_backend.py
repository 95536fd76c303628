"""The gateway's Backend: each call goes on to the task's own REST lane, through the node's HAProxy.

Measured against a Serve deployment handle, the hop costs less than half: no pickling, no router in Python, and HAProxy
already knows every replica's address and health. Deadline, priority and request id travel as the headers any client
would send, errors as the native error body; a caller that goes away closes the connection, which cancels the work.
A call that found no replica, or lost its own, is sent again within its deadline, if its method allows.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp

from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Method, Task
from services.edges.endpoint import PRIORITY, REQUEST_ID, TIMEOUT, VIA
from services.edges.status import read_error

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
        body = request.__pydantic_serializer__.to_json(request, exclude_unset=True)
        url = f"{self._base}/{task.name}{method.route}"
        try:
            async with asyncio.timeout(context.remaining()):
                answer = await self._persist(url, body, context, idempotent=method.idempotent)
        except TimeoutError:
            raise ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the answer was ready.") from None
        return method.response.model_validate_json(answer)

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

    async def _persist(self, url: str, body: bytes, context: CallContext, *, idempotent: bool) -> bytes:
        """Post until there is an answer other than that nobody is there to give one, or patience ends."""
        for pause in _PAUSES:
            try:
                return await self._post(url, body, context)
            except ServingError as error:
                # A connection that was never made has done nothing yet; any other loss may have.
                untouched = isinstance(error.__cause__, aiohttp.ClientConnectorError)
                if error.code is not Code.UNAVAILABLE or not (idempotent or untouched):
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # spread, not secret
        return await self._post(url, body, context)

    async def _post(self, url: str, body: bytes, context: CallContext) -> bytes:
        try:
            async with self._session.post(url, data=body, headers=_headers(context)) as response:
                answer = await response.read()
        except aiohttp.ClientError as error:
            raise _unavailable() from error
        if response.status != 200:
            raise read_error(answer, response.headers.get("retry-after")) or _unavailable()
        return answer

    async def _ready(self, task: str) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self._session.get(f"{self._base}/{task}/readyz") as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError):
            return False


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
