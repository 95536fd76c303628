"""The load on a server: many single-sentence requests at once, again as each is answered, or in bursts.

Callers are as light as may be, since they share the cores with what is measured: requests are made before, answers are
only looked at for what is wrong with them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from services.edges.protobuf import message_class
from services.tasks.translation import TASK, TRANSLATE

Call = Callable[[int], Awaitable[None]]
"""Sends the n-th sentence and takes its answer."""


async def measure(texts: Sequence[str], protocol: str, pattern: str, port: int, seconds: float) -> float:
    """Right answers per second, with a caller for each text.

    Raises:
        ValueError: an answer was wrong, or none.
    """
    bodies = [{"text": [text], "source": "en", "target": "de", "beam_size": 1} for text in texts]
    async with {"REST": _rest, "gRPC": _grpc}[protocol](bodies, port) as call:
        run = {"steady": _steady, "bursts": _bursts}[pattern]
        await run(call, len(texts), seconds / 4)
        return await run(call, len(texts), seconds)


@asynccontextmanager
async def _rest(bodies: Sequence[dict[str, Any]], port: int) -> AsyncIterator[Call]:
    """A connection for each caller."""
    requests = [_http(json.dumps(body).encode()) for body in bodies]
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in bodies]

    async def call(number: int) -> None:
        reader, writer = streams[number]
        writer.write(requests[number])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        answer = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
        if b" 200 " not in head[:16] or b'"flags":[]' not in answer:
            raise ValueError(f"a wrong answer: {answer[:500]!r}")

    yield call
    for _, writer in streams:
        writer.close()


def _http(body: bytes) -> bytes:
    head = f"POST {TRANSLATE.route} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def _grpc(bodies: Sequence[dict[str, Any]], port: int) -> AsyncIterator[Call]:
    """One connection for all."""
    request, response = (message_class(TASK, record) for record in (TRANSLATE.request, TRANSLATE.response))
    requests = [request(**body).SerializeToString() for body in bodies]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        send = channel.unary_unary(TASK.rpc(TRANSLATE), bytes, bytes)

        async def call(number: int) -> None:
            try:
                answer: Any = response.FromString(await send(requests[number]))
            except grpc.aio.AioRpcError as error:
                raise ValueError(f"no answer: {error.details()}") from error
            if not answer.results[0].translation or answer.results[0].flags:
                raise ValueError(f"a wrong answer: {answer}")

        yield call


async def _steady(call: Call, callers: int, seconds: float) -> float:
    """Each of so many callers asks again once it is answered."""
    answered = 0
    started = time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal answered
        while time.perf_counter() - started < seconds:
            await call(number)
            answered += 1

    await asyncio.gather(*map(caller, range(callers)))
    return answered / (time.perf_counter() - started)


async def _bursts(call: Call, callers: int, seconds: float) -> float:
    """All at once, and again when all are answered."""
    answered = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        await asyncio.gather(*map(call, range(callers)))
        answered += callers
    return answered / spent
