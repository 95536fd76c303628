"""The time of live calls, whose requests and answers come one by one. Knows no protocol and no task."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.core.context import CallContext
from services.core.errors import Code, ServingError, too_late
from services.core.schema import Request, Response


async def patient(requests: AsyncGenerator[Request], seconds: float) -> AsyncGenerator[Request]:
    """The requests; who is asked for one and sends nothing for ``seconds`` is not waited for longer.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
    """
    async with aclosing(requests):
        while True:
            try:
                async with asyncio.timeout(seconds):
                    request = await anext(requests, None)
            except TimeoutError:
                message = f"Nothing came for {seconds:g} seconds; send more, or end the stream."
                raise ServingError(Code.DEADLINE_EXCEEDED, message) from None
            if request is None:
                return
            yield request


async def in_time(answers: AsyncGenerator[Response], context: CallContext) -> AsyncGenerator[Response]:
    """The answers, until the deadline.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
    """
    async with aclosing(answers):
        while True:
            try:
                async with asyncio.timeout(context.remaining()):
                    answer = await anext(answers, None)
            except TimeoutError:
                raise too_late() from None
            if answer is None:
                return
            yield answer
