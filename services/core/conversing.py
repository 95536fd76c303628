"""Conversing: pipelines that submit items as they go, for requests that are longer than memory or not yet whole.

    a recording       one request, many items, parts as they are ready
    a live stream     requests while they come, answers between them

Knows items and the queue they go to. Does not know what requests are about, nor who sends them.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from services.core.context import CallContext, Priority
from services.core.errors import Code, ServingError
from services.core.queueing import Item
from services.core.schema import Request, Response
from services.core.telemetry import BatchKey

RequestT = TypeVar("RequestT", bound=Request)


class Submit(Protocol):
    """Runs one item."""

    async def __call__(self, item: Item, *, patient: bool = True) -> Any:
        """Its output; cancelled, it is taken out of the queue.

        Args:
            item: goes where those of other calls go, and shares runs with them.
            patient: wait while the queue is full, as long as the call's deadline allows: what is begun is to be ended.

        Raises:
            ServingError: as `Batcher.submit` does.
        """


@runtime_checkable
class ConversingPipeline(Protocol):
    """What a task does with requests that make items as they go. One object serves one model and all its calls."""

    def converse(self, first: Any, requests: AsyncGenerator[Any], submit: Submit) -> AsyncGenerator[Response]:
        """Answer, in parts.

        Args:
            first: the first request; of most calls the only one.
            requests: those that come after it. Ask for the next when it can be taken: that is what slows a sender down.
            submit: runs items.

        Raises:
            ServingError: a request is not to be answered.
        """

    def warm_up(self) -> None:
        """Do once what is slow the first time."""

    def run(self, payloads: Sequence[Any]) -> Sequence[Any]:
        """Run a batch, on a lane: one output per payload, whatever calls they came from."""

    def close(self) -> None:
        """Free the engine."""


class WholePipeline(ConversingPipeline, Protocol):
    """One whose answers may also be had whole."""

    def whole(self, request: Any, parts: Sequence[Any]) -> Response:
        """The parts of the answer to an only request as one."""


async def once(request: RequestT) -> AsyncGenerator[RequestT]:
    """A stream of one request."""
    yield request


class PatientSubmit:
    """Submits one item after another of a call that has been let in."""

    def __init__(
        self,
        submit: Callable[[BatchKey, Sequence[Item], float, Priority], Awaitable[Sequence[Any]]],
        key: BatchKey,
        context: CallContext,
    ) -> None:
        self._submit = submit
        self._key = key
        self._context = context

    async def __call__(self, item: Item, *, patient: bool = True) -> Any:
        """See `Submit`."""
        while True:
            try:
                (output,) = await self._submit(self._key, (item,), self._context.deadline, self._context.priority)
            except ServingError as error:
                pause = error.retry_after or 1.0
                if not patient or error.code is not Code.OVERLOADED or self._context.remaining() < pause:
                    raise
                await asyncio.sleep(pause)
            else:
                return output
