"""One method of one task, as every edge calls it: context, deadline, metrics, and the last word on errors.

What REST and gRPC share, so that neither has its own copy. Knows no protocol: an edge hands over the caller's
headers (REST) or metadata (gRPC), and a function that decodes the request.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from services.core.context import CallContext, Priority, new_request_id
from services.core.dialect import Call
from services.core.errors import Code, ServingError
from services.core.inference import Backend
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Kind, Method, Task
from services.core.telemetry import INFLIGHT, OUTCOMES, REQUEST_SECONDS, Meter
from services.edges.live import in_time, patient

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
TIMEOUT = "x-request-timeout"
PRIORITY = "x-request-priority"
VIA = "x-chorale-via"
"""Set by a gateway on what it forwards: that call is counted there under its client's protocol, and here as a hop."""

STALLED = 30.0
"""Seconds a client may take nothing of a stream that is there for it."""

_LONGEST_ID = 128

_Decoded = TypeVar("_Decoded")


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's id if it is fit to be logged and echoed, else a new one."""
    given = headers.get(REQUEST_ID, "")
    fit = 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable()
    return given if fit else new_request_id()


@dataclass(slots=True)
class _Record:
    """What is told of a call once it has ended."""

    model: str = ""
    outcome: str = "ok"


async def taken(sending: Awaitable[object]) -> None:
    """Wait for a client that reads a stream slowly, but not for one that has stopped."""
    try:
        async with asyncio.timeout(STALLED):
            await sending
    except TimeoutError:
        raise ServingError(Code.CANCELLED, "The client stopped reading.") from None


class Endpoint:
    """Calls the backend for one method and protocol."""

    def __init__(
        self, task: Task, method: Method, protocol: str, backend: Backend, meter: Meter, settings: Settings
    ) -> None:
        self.task = task
        self.method = method
        self.protocol = protocol
        self._backend = backend
        self._meter = meter
        self._settings = settings
        live = method.kind is Kind.BIDI
        self._default_timeout = settings.max_stream_seconds if live else settings.default_timeout
        self._max_timeout = settings.max_stream_seconds if live else settings.max_timeout
        self.inflight = 0
        meter.watch(INFLIGHT, lambda: self.inflight, task.name, protocol)

    async def __call__(
        self,
        identity: str,
        headers: Mapping[str, str],
        decode: Callable[[], Awaitable[Request]],
        remaining: float | None = None,
    ) -> Response:
        """Answer one call.

        Args:
            identity: the request id.
            headers: lower-case names; timeout and priority are read from them.
            decode: reads and makes the request, or raises ServingError; the deadline covers it.
            remaining: seconds the protocol itself gives (a gRPC deadline).

        Raises:
            ServingError: and nothing else; what is not one is logged and becomes INTERNAL with the id only.
        """
        with self._counted(identity, headers) as record:
            context, request = await self._open(identity, headers, decode, remaining)
            response = await self._backend.infer(self.task, self.method, request, context)
            record.model = response.model
            return response

    def stream(
        self,
        identity: str,
        headers: Mapping[str, str],
        decode: Callable[[], Awaitable[Request]],
        remaining: float | None = None,
    ) -> AsyncGenerator[Response]:
        """Answer one call in parts; arguments and errors as for a whole answer. Close it to stop the work."""

        async def call() -> Call:
            return Call(self.method, (await decode(),))

        return self.answer(identity, headers, call, remaining)

    async def answer(
        self,
        identity: str,
        headers: Mapping[str, str],
        decode: Callable[[], Awaitable[Call]],
        remaining: float | None = None,
    ) -> AsyncGenerator[Response]:
        """Answer one call of which only its body says what it is: the parts of a streamed answer, or whole answers.

        Otherwise as `stream`.
        """
        with self._counted(identity, headers) as record:
            context, call = await self._open(identity, headers, decode, remaining)
            async with aclosing(self._answers(call, context)) as answers:
                async for answer in answers:
                    record.model = answer.model
                    yield answer

    async def converse(
        self,
        identity: str,
        headers: Mapping[str, str],
        requests: AsyncGenerator[Request],
        remaining: float | None = None,
    ) -> AsyncGenerator[Response]:
        """Answer one live call, while its requests still come. Close it to stop the work.

        Args:
            identity: the request id.
            headers: as for a whole answer.
            requests: read and made one by one as they are asked for; closed at the end.
            remaining: as for a whole answer.

        Raises:
            ServingError: as for a whole answer; DEADLINE_EXCEEDED also when the client stops sending.
        """
        with self._counted(identity, headers) as record:
            context = self._context(identity, headers, time.monotonic(), remaining)
            coming = patient(requests, self._settings.idle_seconds)
            answers = self._backend.converse(self.task, self.method, coming, context)
            async with aclosing(in_time(answers, context)) as timed:
                async for answer in timed:
                    record.model = answer.model
                    yield answer

    def _answers(self, call: Call, context: CallContext) -> AsyncGenerator[Response]:
        if call.is_streamed:
            (request,) = call.requests
            return self._backend.stream(self.task, call.method, request, context)
        return self._whole(call, context)

    async def _whole(self, call: Call, context: CallContext) -> AsyncGenerator[Response]:
        """One answer per request, in order, once all are there: asked for together, and given up together."""
        asked = [
            asyncio.ensure_future(self._backend.infer(self.task, call.method, request, context))
            for request in call.requests
        ]
        try:
            for answer in await asyncio.gather(*asked):
                yield answer
        finally:
            for one in asked:
                one.cancel()

    async def _open(
        self,
        identity: str,
        headers: Mapping[str, str],
        decode: Callable[[], Awaitable[_Decoded]],
        remaining: float | None,
    ) -> tuple[CallContext, _Decoded]:
        context = self._context(identity, headers, time.monotonic(), remaining)
        async with asyncio.timeout(context.remaining()):
            return context, await decode()

    @contextmanager
    def _counted(self, identity: str, headers: Mapping[str, str]) -> Iterator["_Record"]:
        """One call: counted and timed, with its last word on errors."""
        started = time.monotonic()
        record = _Record()
        self.inflight += 1
        try:
            yield record
        except ServingError as error:
            record.outcome = OUTCOMES[error.code]
            raise
        except TimeoutError:
            record.outcome = "deadline"
            raise ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the request was whole.") from None
        except (asyncio.CancelledError, GeneratorExit):
            record.outcome = "cancelled"
            raise
        except Exception as error:  # the boundary to the caller: nobody sees a stack trace, and none is lost
            record.outcome = "internal"
            log.exception("request %s to %s failed", identity, self.task.rpc(self.method))
            raise ServingError(
                Code.INTERNAL, f"Internal error; quote request id {identity} to the operator."
            ) from error
        finally:
            self.inflight -= 1
            seconds = time.monotonic() - started
            protocol = "hop" if VIA in headers else self.protocol
            self._meter.record(REQUEST_SECONDS, seconds, self.task.name, record.model, protocol, record.outcome)

    def refusal(self, headers: Mapping[str, str], remaining: float | None = None) -> ServingError | None:
        """Why this call is refused before it is read, if it is: under overload, refusing is most of the work.

        Args:
            headers: as for a call.
            remaining: as for a call.
        """
        try:
            deadline = self._deadline(headers, time.monotonic(), remaining)
        except ServingError:
            return None  # of what is wrong with the call itself, the call is told
        error = self._backend.refusal(self.task, self.method, deadline)
        if error:
            protocol = "hop" if VIA in headers else self.protocol
            self._meter.record(REQUEST_SECONDS, 0.0, self.task.name, "", protocol, OUTCOMES[error.code])
        return error

    def _context(
        self, identity: str, headers: Mapping[str, str], started: float, remaining: float | None
    ) -> CallContext:
        deadline = self._deadline(headers, started, remaining)
        priority = _priority(given) if (given := headers.get(PRIORITY)) else Priority.NORMAL
        return CallContext(identity, self.protocol, deadline, priority)

    def _deadline(self, headers: Mapping[str, str], started: float, remaining: float | None) -> float:
        timeout = self._default_timeout if remaining is None else remaining
        if given := headers.get(TIMEOUT):
            timeout = min(timeout, _seconds(given)) if remaining is not None else _seconds(given)
        deadline = started + min(timeout, self._max_timeout)
        if deadline <= started:
            raise ServingError(Code.DEADLINE_EXCEEDED, "The deadline had passed when the request arrived.")
        return deadline


def _seconds(value: str) -> float:
    try:
        seconds = math.nan if "_" in value else float(value)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"{TIMEOUT}: give seconds, such as 2.5; {value[:40]!r} is not.", TIMEOUT
        )
    return seconds


def _priority(value: str) -> Priority:
    try:
        return Priority[value.upper()]
    except KeyError:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"{PRIORITY}: give high, normal or low; {value[:40]!r} is neither.", PRIORITY
        ) from None
