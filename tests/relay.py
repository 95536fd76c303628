"""The relay task in this process: a real server with it, and what tests of live calls need besides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.core.catalog import BatchPolicy
from services.core.inference import Loaded
from services.core.settings import Settings
from tests.served.relay import RELAY, STREAM_RELAY, TASK, RelayPart, RelayPipeline, RelayRequest, RelayResponse
from tests.serving import Server, fake_spec, free_port, running

__all__ = ["RELAY", "STREAM_RELAY", "TASK", "RelayPart", "RelayPipeline", "RelayRequest", "RelayResponse"]


@asynccontextmanager
async def serve_relay(
    policy: BatchPolicy | None = None, **settings: Any
) -> AsyncIterator[tuple[Server, RelayPipeline]]:
    """The task in this process, on free ports."""
    chosen = Settings(**{"rest_port": free_port(), "grpc_port": free_port(), "drain_seconds": 2, **settings})
    pipeline = RelayPipeline()
    spec = fake_spec("relay", "relay", default=True, batch=policy or BatchPolicy())
    loaded = [Loaded(spec, (RELAY.verb, STREAM_RELAY.verb), pipeline)]
    async with running((TASK,), loaded, chosen) as server:
        try:
            yield server, pipeline
        finally:
            pipeline.gate.set()


async def until(condition: Any, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
