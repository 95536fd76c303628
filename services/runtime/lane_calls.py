"""What every call of the gateway to a task's lane has: headers, a time, further tries, and errors as ours."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import aiohttp

from services.core.context import CallContext
from services.core.errors import Code, ServingError, too_late
from services.edges.endpoint import PRIORITY, REQUEST_ID, TIMEOUT, VIA
from services.edges.status import read_error

T = TypeVar("T")

_PAUSES = (0.05, 0.1, 0.2, 0.4, *[0.8] * 8)
"""Seconds before each further try, give or take a half: long enough together for HAProxy or a replica to be back."""


async def persist(call: Callable[[], Awaitable[T]], *, idempotent: bool) -> T:
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


async def in_time(context: CallContext, work: Awaitable[T]) -> T:
    """What comes of it within the call's time."""
    try:
        async with asyncio.timeout(context.remaining()):
            return await work
    except TimeoutError:
        raise too_late() from None


@contextmanager
def told() -> Iterator[None]:
    """What became of the connection, as a `ServingError`."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise unavailable() from error


def require_ok(response: aiohttp.ClientResponse, answer: bytes) -> None:
    """Raise what an answer says that is an error."""
    if response.status != 200:
        raise read_error(answer, response.headers.get("retry-after")) or unavailable()


def headers_of(context: CallContext) -> dict[str, str]:
    """Those that say what is known of a call."""
    return {
        REQUEST_ID: context.request_id,
        TIMEOUT: f"{max(0.0, context.remaining()):.6f}",
        PRIORITY: context.priority.name.lower(),
        VIA: context.protocol,
    }


def unavailable() -> ServingError:
    """Nobody was there to answer, or is no more."""
    return ServingError(Code.UNAVAILABLE, "No replica could answer; retry after the time given.", None, 1.0)
