"""Every client of the relay task, straight to its models and through a gateway, as one kind of call."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.clients import AsyncGrpcClient, AsyncRestClient, GrpcClient, RestClient, ServingError
from services.core.catalog import BatchPolicy, Catalog
from services.core.settings import Settings
from services.edges.grpc import build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime.http_server import make_server
from services.runtime.lane_backend import LaneBackend
from services.runtime.meters import PrometheusMeter
from services.runtime.ray_ingress import Ingress
from tests.reading import read
from tests.relay import STREAM_RELAY, TASK, RelayPart, RelayPipeline, RelayRequest, serve_relay
from tests.serving import Server, free_port

KINDS = ("rest", "async rest", "grpc", "async grpc")
WAYS = ("direct", "gateway")
LIMIT = 100_000


class Place:
    """A server with the models, and where clients are to call."""

    def __init__(self, server: Server, pipeline: RelayPipeline, rest_port: int, grpc_port: int) -> None:
        self.server = server
        self.pipeline = pipeline
        self.rest_port = rest_port
        self.grpc_port = grpc_port

    def client(self, kind: str) -> Any:
        url, address = f"http://127.0.0.1:{self.rest_port}", f"127.0.0.1:{self.grpc_port}"
        match kind:
            case "rest":
                return RestClient(url)
            case "async rest":
                return AsyncRestClient(url)
            case "grpc":
                return GrpcClient(address, tasks=(TASK,))
            case _:
                return AsyncGrpcClient(address, tasks=(TASK,))


@asynccontextmanager
async def place(way: str, policy: BatchPolicy | None = None, **settings: Any) -> AsyncIterator[Place]:
    async with serve_relay(policy, **{"max_request_bytes": LIMIT, **settings}) as (server, pipeline):
        if way == "direct":
            yield Place(server, pipeline, server.settings.rest_port, server.settings.grpc_port)
            return
        async with gateway(server, {"max_request_bytes": LIMIT, **settings}) as (rest_port, grpc_port):
            yield Place(server, pipeline, rest_port, grpc_port)


@asynccontextmanager
async def gateway(server: Server, settings: dict[str, Any]) -> AsyncIterator[tuple[int, int]]:
    """A gateway before the server's models, and between them the lane: their application below ``/relay``."""
    meter, catalog = PrometheusMeter(), Catalog(server.service._catalog.specs)
    lane, chosen = (Settings(rest_port=free_port(), grpc_port=free_port(), **settings) for _ in range(2))
    models = Ingress(build_rest_app((TASK,), server.service, catalog, meter, lane), "/relay", _nothing)
    backend = LaneBackend((TASK,), lane)
    app = build_rest_app((TASK,), backend, catalog, meter, chosen)
    servers = [
        make_server(one, some, host="127.0.0.1", port=some.rest_port) for one, some in ((models, lane), (app, chosen))
    ]
    rpc = build_grpc_server((TASK,), backend, meter, chosen)
    await rpc.server.start()
    running = [asyncio.create_task(one.serve()) for one in servers]
    await asyncio.gather(*(one.listening.wait() for one in servers))
    try:
        yield chosen.rest_port, chosen.grpc_port
    finally:
        for one in servers:
            one.should_exit = True
        await rpc.stop(0)
        await backend.close()
        await asyncio.gather(*running)


async def _nothing(*_: Any) -> None:
    raise AssertionError("not below the prefix")


def talk(at: Place, kind: str, requests: Iterable[RelayRequest], **options: Any) -> AsyncIterator[RelayPart]:
    """A live call of any client, from asyncio."""
    client = at.client(kind)
    requests_ = later(requests) if kind.startswith("async") else requests
    return read(client, client.converse(STREAM_RELAY, requests_, **options))


async def later(requests: Iterable[RelayRequest]) -> AsyncIterator[RelayRequest]:
    iterator = iter(requests)
    while (request := await asyncio.to_thread(next, iterator, None)) is not None:
        yield request


def paced(requests: Iterable[RelayRequest]) -> Iterator[RelayRequest]:
    """With time between them: grpc.aio says of a message that meets the end of its call that it failed itself."""
    for request in requests:
        yield request
        time.sleep(0.05)


def blocks(*sizes: int) -> list[RelayRequest]:
    return [RelayRequest(data=bytes(range(256)) * (size // 256) + b"x" * (size % 256)) for size in sizes]


async def failure(parts: AsyncIterator[RelayPart]) -> tuple[list[RelayPart], ServingError]:
    found: list[RelayPart] = []
    try:
        async for part in parts:
            found.append(part)  # noqa: PERF401  # kept when it raises
    except ServingError as error:
        return found, error
    pytest.fail("no error")
