"""Live calls and uploads: one contract for every client, straight to the models and through a gateway."""

import asyncio
import gc
import mmap
import threading
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from services.clients import AsyncGrpcClient, AsyncRestClient, Code, GrpcClient, RestClient, ServingError
from services.core.catalog import BatchPolicy, Catalog
from services.core.settings import Settings
from services.edges import protobuf
from services.edges.grpc import build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime.http_server import make_server
from services.runtime.lane_backend import LaneBackend
from services.runtime.meters import PrometheusMeter
from services.runtime.ray_ingress import Ingress
from tests.relay import RELAY, STREAM_RELAY, TASK, RelayPart, RelayPipeline, RelayRequest, serve_relay, until
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


@pytest.fixture(scope="module", params=WAYS)
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with place(request.param) as found:
        yield found


async def talk(at: Place, kind: str, requests: Iterable[RelayRequest], **options: Any) -> AsyncIterator[RelayPart]:
    """A live call of any client, from asyncio."""
    client = at.client(kind)
    if kind.startswith("async"):
        async with client, aclosing(client.converse(STREAM_RELAY, later(requests), **options)) as parts:
            async for part in parts:
                yield part
        return
    parts = client.converse(STREAM_RELAY, requests, **options)
    try:
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part
    finally:
        await asyncio.to_thread(parts.close)
        client.close()


async def later(requests: Iterable[RelayRequest]) -> AsyncIterator[RelayRequest]:
    iterator = iter(requests)
    while (request := await asyncio.to_thread(next, iterator, None)) is not None:
        yield request


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


@pytest.mark.parametrize("kind", KINDS)
async def test_every_request_is_answered_in_order(anywhere: Place, kind: str) -> None:
    some = RelayRequest(data=b"a", words=("ü", "b"), factor=0.5, loud=True, tone="soft")
    requests = [some, *blocks(1, 300, 70_000, 2), RelayRequest(words=("no bytes",), times=3)]
    async with asyncio.timeout(20):
        found = [part async for part in talk(anywhere, kind, requests)]
    sent = [request for request in requests for _ in range(request.times)]
    assert [(part.size, part.sum) for part in found] == [(len(one.data), zlib.crc32(one.data)) for one in sent]
    assert (found[0].words, found[0].factor, found[0].loud, found[0].tone) == (("ü", "b"), 0.5, True, "soft")
    assert {part.model for part in found} == {"relay@1"}
    await until(lambda: anywhere.pipeline.talks == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_comes_before_the_next_request_is_there(anywhere: Place, kind: str) -> None:
    answered = threading.Event()

    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        assert answered.wait(10)
        yield RelayRequest(data=b"ab")

    async with asyncio.timeout(20), aclosing(talk(anywhere, kind, requests())) as parts:
        assert (await anext(parts)).size == 1
        answered.set()
        assert [part.size async for part in parts] == [2]


WRONG: dict[str, tuple[Sequence[RelayRequest], Code, str | None, str]] = {
    "no request": ([], Code.INVALID_ARGUMENT, None, "before its first message"),
    "an unknown model": ([RelayRequest(model="nobody")], Code.NOT_FOUND, "model", "nobody"),
    "an invalid one in the middle": (
        [*blocks(1), RelayRequest.model_construct(data=b"", tone="shrill"), *blocks(1)],
        Code.INVALID_ARGUMENT,
        "tone",
        "plain",
    ),
    "too large a one": (blocks(1, LIMIT + 1), Code.TOO_LARGE, None, str(LIMIT)),
    "one that the engine fails on": ([*blocks(1), RelayRequest(data=b"boom")], Code.INTERNAL, None, "engine failed"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WRONG)
async def test_the_same_error_everywhere(anywhere: Place, kind: str, case: str) -> None:
    requests, code, param, words = WRONG[case]
    async with asyncio.timeout(20):
        found, error = await failure(talk(anywhere, kind, requests))
    assert (error.code, error.param, words in error.message) == (code, param, True), error
    assert len(found) <= 1  # what comes before the error may be overtaken by it
    await until(lambda: anywhere.pipeline.talks == 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_that_stalls_is_not_waited_for(way: str, kind: str) -> None:
    stop = threading.Event()

    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        stop.wait(10)

    async with place(way, idle_seconds=0.3) as at, asyncio.timeout(20):
        found, error = await failure(talk(at, kind, requests()))
        stop.set()
        assert (error.code, len(found)) == (Code.DEADLINE_EXCEEDED, 1)
        await until(lambda: at.pipeline.talks == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_a_call(anywhere: Place, kind: str) -> None:
    stop = threading.Event()

    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        stop.wait(10)

    async with asyncio.timeout(20):
        found, error = await failure(talk(anywhere, kind, requests(), timeout=0.7))
    stop.set()
    assert (error.code, len(found)) == (Code.DEADLINE_EXCEEDED, 1)
    await until(lambda: anywhere.pipeline.talks == 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_takes_the_waiting_work_along(way: str, kind: str) -> None:
    def requests() -> Iterator[RelayRequest]:
        yield RelayRequest(data=b"a")
        yield from [RelayRequest(data=b"wait", times=9)] * 9

    async with place(way) as at, asyncio.timeout(20):
        async with aclosing(talk(at, kind, requests())) as parts:
            await anext(parts)
            await until(at.pipeline.began.is_set)
        await until(lambda: not at.server.service.waiting and at.pipeline.talks == 0)
        at.pipeline.gate.set()
        assert at.pipeline.ran <= 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_not_taken_is_not_asked_for(way: str, kind: str) -> None:
    asked = 0

    def requests() -> Iterator[RelayRequest]:
        nonlocal asked
        yield RelayRequest(data=b"wait")
        while asked < 2000:
            asked += 1
            yield RelayRequest(data=b"x" * 90_000)

    async with place(way) as at, asyncio.timeout(30), aclosing(talk(at, kind, requests())) as parts:
        first = asyncio.ensure_future(anext(parts))
        await until(at.pipeline.began.is_set)
        before = -1
        while asked > before:
            before = asked
            await asyncio.sleep(0.5)
        assert asked < 600  # of 180 MB: what the buffers of all that is between hold
        at.pipeline.gate.set()
        assert (await first).size == 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_overloaded_server_says_so(way: str, kind: str) -> None:
    async with place(way, BatchPolicy(lanes=1, queue_items=1)) as at, asyncio.timeout(20):
        running = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(at.pipeline.began.is_set)
        waiting = asyncio.create_task(at.server.post(RELAY.route, {"data": "d2FpdA=="}))
        await until(lambda: at.server.service.waiting)
        _, error = await failure(talk(at, kind, blocks(1)))
        assert error.code is Code.OVERLOADED
        at.pipeline.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(running, waiting)] == [200, 200]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_wrong_with_the_callers_own_requests_reaches_the_caller(anywhere: Place, kind: str) -> None:
    def requests() -> Iterator[Any]:
        yield RelayRequest(data=b"a")
        raise LookupError("no microphone")

    with pytest.raises(LookupError, match="no microphone"):
        async with asyncio.timeout(20):
            _ = [part async for part in talk(anywhere, kind, requests())]
    await until(lambda: anywhere.pipeline.talks == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 5, 80_000])
async def test_uploads_are_answered_alike(anywhere: Place, kind: str, size: int) -> None:
    request = RelayRequest(data=b"x" * size, words=("a", "b"), factor=2.5)
    client = anywhere.client(kind)
    if kind.startswith("async"):
        async with client:
            answer = await client.call(RELAY, request)
    else:
        with client:
            answer = await asyncio.to_thread(client.call, RELAY, request)
    (part,) = answer.parts
    assert (part.size, part.sum, part.words, part.factor) == (size, zlib.crc32(request.data), ("a", "b"), 2.5)


@pytest.mark.parametrize("kind", ["rest", "async rest"])
async def test_large_files_go_through_without_being_in_memory(anywhere: Place, kind: str) -> None:
    block = bytes(range(256)) * 4096
    with mmap.mmap(-1, 20 * len(block)) as file:
        for _ in range(20):
            file.write(block)
        request = RelayRequest(data=memoryview(file))
        client = anywhere.client(kind)
        if kind == "rest":
            answer = await asyncio.to_thread(client.call, RELAY, request)
            client.close()
        else:
            async with client:
                answer = await client.call(RELAY, request)
        (part,) = answer.parts
        assert (part.size, part.sum, part.mapped) == (20 * len(block), zlib.crc32(block * 20), True)
        del request, client
        _collect(file)


def _collect(file: mmap.mmap) -> None:
    """Nothing holds the file any more: it could not be closed otherwise."""
    gc.collect()
    file.close()


async def test_the_server_announces_it(anywhere: Place) -> None:
    async with anywhere.client("async rest") as client:
        (task,) = await client.tasks()
    kinds = {method.verb: (method.kind, method.route) for method in task.methods}
    assert kinds == {"Relay": ("unary", "/v1/relay"), "StreamRelay": ("bidi", "/v1/stream-relay")}
    document = (await anywhere.server.rest.get("/openapi.json")).json()["paths"]
    assert set(document["/v1/relay"]["post"]["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert "/v1/stream-relay" not in document


def test_the_messages_of_these_tests_have_the_fields_of_their_records() -> None:
    message = protobuf.message_class(TASK, RelayRequest)(data=b"a")
    assert MessageToDict(message)["data"] == "YQ=="
    assert set(RelayRequest.model_fields) == {field.name for field in message.DESCRIPTOR.fields}
