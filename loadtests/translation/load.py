"""The load on a server: many single-sentence requests at once, again as each is answered, or in bursts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from loadtests.translation.shape import SENTENCES
from services.clients import AsyncGrpcClient, AsyncRestClient
from services.tasks.translation import TRANSLATE, TranslateRequest

Call = Callable[[int], Awaitable[None]]
"""Sends the n-th sentence and takes its answer."""


async def measure(texts: Sequence[str], protocol: str, pattern: str, port: int, seconds: float) -> float:
    """Right answers per second.

    Raises:
        ServingError: a call failed.
    """
    requests = [TranslateRequest(text=(text,), source="en", target="de", beam_size=1) for text in texts]
    client = AsyncRestClient(f"http://127.0.0.1:{port}") if protocol == "REST" else AsyncGrpcClient(f"127.0.0.1:{port}")
    async with client:

        async def call(number: int) -> None:
            answer = await client.call(TRANSLATE, requests[number])
            if not answer.results[0].translation or answer.results[0].flags:
                raise ValueError(f"a wrong answer: {answer}")

        run = {"steady": _steady, "bursts": _bursts}[pattern]
        await run(call, seconds / 4)
        return await run(call, seconds)


async def _steady(call: Call, seconds: float) -> float:
    """Each of so many callers asks again once it is answered."""
    answered = 0
    started = time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal answered
        while time.perf_counter() - started < seconds:
            await call(number)
            answered += 1

    await asyncio.gather(*map(caller, range(SENTENCES)))
    return answered / (time.perf_counter() - started)


async def _bursts(call: Call, seconds: float) -> float:
    """All at once, and again when all are answered."""
    answered = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        await asyncio.gather(*map(call, range(SENTENCES)))
        answered += SENTENCES
    return answered / spent
