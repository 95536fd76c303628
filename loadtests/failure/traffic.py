"""Callers that never stop: on each way into the server some keep a call in flight, and every answer is checked.

Plain clients, as users have them: aiohttp, and grpc.aio with the retry policy that `services.edges.retry` gives.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from typing import Self

import aiohttp
import grpc

from services.core.task import Task
from services.edges.retry import channel_options
from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest, ClassifyResponse

TEXTS = (
    "A warm, funny and deeply moving film.",
    "It drags on for hours and goes nowhere.",
    "I want my money back.",
    "The acting is superb and so is the score.",
    "Not bad at all!",
)

CALLERS = 6
"""On each way in."""

PATIENCE = 15.0
"""Seconds a caller gives a call."""

Call = Callable[[str], Awaitable[str]]
"""A text in, its label out; raises `CallError`."""


class CallError(Exception):
    """A call that got no answer; the message is the code."""


@dataclass
class Seen:
    """What happened on one way in: when calls ended well, and when and how the others did."""

    good: list[float] = field(default_factory=list)
    wrong: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)


class Traffic:
    """Calls on every way in, until told to stop; a context manager.

    Args:
        task: classification.
        rest_port: of the front door.
        grpc_port: of the gateway; the task's lane is above it.
        lane_port: of the task's gRPC lane.
    """

    def __init__(self, task: Task, rest_port: int, grpc_port: int, lane_port: int) -> None:
        self._task = task
        self._rest = f"http://127.0.0.1:{rest_port}"
        self._ports = {"gateway gRPC": grpc_port, "gRPC lane": lane_port}
        self._expected: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self.seen: dict[str, Seen] = {}

    async def __aenter__(self) -> Self:
        calls = await self._open()
        self._expected = {text: await calls["REST lane"](text) for text in TEXTS}
        self.seen = {name: Seen() for name in calls}
        self._callers = [
            asyncio.create_task(self._caller(call, self.seen[name], offset))
            for name, call in calls.items()
            for offset in range(CALLERS)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        await self._stack.aclose()

    async def _open(self) -> dict[str, Call]:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        session = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        route = self._task.methods[0].route
        calls: dict[str, Call] = {
            "REST lane": lambda text: _rest(session, f"{self._rest}/{self._task.name}{route}", text),
            "gateway REST": lambda text: _rest(session, f"{self._rest}{route}", text),
        }
        for name, port in self._ports.items():
            options = channel_options([self._task])
            channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options))
            calls[name] = _grpc(channel, self._task.rpc(self._task.methods[0]))
        return calls

    async def _caller(self, call: Call, seen: Seen, offset: int) -> None:
        for text in cycle([*TEXTS[offset % len(TEXTS) :], *TEXTS[: offset % len(TEXTS)]]):
            try:
                label = await call(text)
            except CallError as error:
                seen.failed.append((time.monotonic(), str(error)))
                await asyncio.sleep(0.02)
            else:
                (seen.good if label == self._expected[text] else seen.wrong).append(time.monotonic())


async def _rest(session: aiohttp.ClientSession, url: str, text: str) -> str:
    try:
        async with session.post(url, json={"text": text}) as response:
            answer = json.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
        raise CallError(type(error).__name__) from error
    if response.status != 200:
        raise CallError(answer["error"]["code"])
    return str(answer["results"][0]["labels"][0]["label"])


def _grpc(channel: grpc.aio.Channel, rpc: str) -> Call:
    method = channel.unary_unary(
        rpc,
        request_serializer=ClassifyRequest.SerializeToString,
        response_deserializer=ClassifyResponse.FromString,
    )

    async def call(text: str) -> str:
        try:
            answer = await method(ClassifyRequest(text=[text]), timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise CallError(error.code().name) from error
        return str(answer.results[0].labels[0].label)

    return call


def silence(moments: Sequence[float], since: float, until: float) -> float:
    """The longest time between two of these moments, from ``since`` to ``until``."""
    inside = [since, *(moment for moment in sorted(moments) if since < moment < until), until]
    return max(later - earlier for earlier, later in pairwise(inside))
