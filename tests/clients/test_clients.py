"""All four clients against a real server: the same answers, errors and retries."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.clients import (
    NEVER,
    AsyncGrpcClient,
    AsyncRestClient,
    Code,
    GrpcClient,
    RestClient,
    Retry,
    ServingError,
)
from services.clients.calls import Call
from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.schema import Usage
from services.edges import protobuf
from services.tasks.classification import CLASSIFY, TASK
from services.tasks.classification.schema import Classification, ClassifyRequest, ClassifyResponse, LabelScore
from services.tasks.echo import ECHO
from services.tasks.echo.schema import EchoRequest
from tests.serving import GatedEncoder, Server, free_port, serve

KINDS = ("rest", "async rest", "grpc", "async grpc")
REQUEST = ClassifyRequest(text=("one", "two"), top_k=1)
ONCE = replace(CLASSIFY, idempotent=False)
QUICK = Retry(times=8, first=0.05, longest=0.2)


@dataclass(frozen=True)
class Caller:
    """A client of any kind, called from asyncio."""

    client: Any
    blocking: bool

    async def call(self, *args: Any, **options: Any) -> Any:
        if self.blocking:
            return await asyncio.to_thread(self.client.call, *args, **options)
        return await self.client.call(*args, **options)


@asynccontextmanager
async def calling(kind: str, rest_port: int, grpc_port: int, **options: Any) -> AsyncIterator[Caller]:
    url, address = f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}"
    async with AsyncExitStack() as stack:
        match kind:
            case "rest":
                client: Any = stack.enter_context(RestClient(url, **options))
            case "async rest":
                client = await stack.enter_async_context(AsyncRestClient(url, **options))
            case "grpc":
                client = stack.enter_context(GrpcClient(address, **options))
            case _:
                client = await stack.enter_async_context(AsyncGrpcClient(address, **options))
        yield Caller(client, blocking=not kind.startswith("async"))


def client_of(server: Server, kind: str, **options: Any) -> AbstractAsyncContextManager[Caller]:
    return calling(kind, server.settings.rest_port, server.settings.grpc_port, **options)


async def failure(call: Awaitable[Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await call
    return caught.value


async def test_all_clients_give_the_same_records(tmp_path: Path) -> None:
    answers = []
    async with serve(tmp_path) as server:
        for kind in KINDS:
            async with client_of(server, kind) as caller:
                answers.append(await caller.call(CLASSIFY, REQUEST))
                echoed = await caller.call(ECHO, EchoRequest(text=("ünï ✓",)))
                assert [result.text for result in echoed.results] == ["ünï ✓"]
    assert isinstance(answers[0], ClassifyResponse)
    for answer in answers[1:]:
        assert answer.model == answers[0].model
        assert answer.usage == answers[0].usage
        for mine, first in zip(answer.results, answers[0].results, strict=True):
            assert mine.labels[0].label == first.labels[0].label
            assert mine.labels[0].score == pytest.approx(first.labels[0].score, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
async def test_errors_are_the_servers_own(tmp_path: Path, kind: str) -> None:
    async with serve(tmp_path) as server, client_of(server, kind) as caller:
        unknown = await failure(caller.call(CLASSIFY, ClassifyRequest(text=("a",), model="nobody")))
        assert (unknown.code, unknown.param) == (Code.NOT_FOUND, "model")
        assert "fake@1" in unknown.message
        with pytest.raises(TypeError, match="ClassifyRequest"):
            await caller.call(CLASSIFY, EchoRequest(text=("a",)))


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_there_is_unavailable_and_said_so(kind: str) -> None:
    async with calling(kind, free_port(), free_port(), retry=NEVER) as caller:
        error = await failure(caller.call(CLASSIFY, REQUEST, timeout=2))
    assert error.code is Code.UNAVAILABLE
    assert re.fullmatch(r"No server answers at (http://)?127\.0\.0\.1:\d+; is it running\?", error.message)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_comes_later_is_found(tmp_path: Path, kind: str) -> None:
    rest_port, grpc_port = free_port(), free_port()
    patient: dict[str, Any] = {"retry": Retry(times=20, first=0.1, longest=0.3)}
    tasks = {"tasks": [replace(TASK, methods=(ONCE,))]} if "grpc" in kind else {}
    async with calling(kind, rest_port, grpc_port, **patient, **tasks) as caller:
        # A call that never reached a server may be sent again, whatever it does.
        call = asyncio.create_task(caller.call(ONCE, REQUEST, timeout=20))
        await asyncio.sleep(0.5)
        async with serve(tmp_path, rest_port=rest_port, grpc_port=grpc_port):
            assert (await call).model == "fake@1"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_ends_at_its_timeout(tmp_path: Path, kind: str) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine) as server:
        async with client_of(server, kind) as caller:
            started = time.monotonic()
            error = await failure(caller.call(CLASSIFY, REQUEST, timeout=0.3))
            assert error.code is Code.DEADLINE_EXCEEDED
            assert time.monotonic() - started < 2
        engine.gate.set()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_refused_as_too_much_is_sent_again_when_the_server_says(tmp_path: Path, kind: str) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, BatchPolicy(lanes=1, queue_items=1)) as server:
        calls = [asyncio.create_task(server.post("/v1/classify", {"text": "first"}))]
        await asyncio.to_thread(engine.started.wait)
        calls.append(asyncio.create_task(server.post("/v1/classify", {"text": "second"})))
        while not server.service.waiting:
            await asyncio.sleep(0.01)
        async with client_of(server, kind, retry=NEVER) as impatient:
            error = await failure(impatient.call(CLASSIFY, REQUEST))
            assert (error.code, error.retry_after) == (Code.OVERLOADED, 1.0)
        async with client_of(server, kind, retry=QUICK) as patient:
            started = time.monotonic()
            call = asyncio.create_task(patient.call(CLASSIFY, REQUEST))
            await asyncio.sleep(0.3)
            engine.gate.set()
            assert (await call).model == "fake@1"
            assert time.monotonic() - started >= 1  # what the server asked for, not the 0.05 s of the client
        await asyncio.gather(*calls)


@asynccontextmanager
async def listener(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server of our own: ``answer`` to the n-th request; None closes."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if (said := answer(len(heads))) is not None:
            writer.write(said)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


def http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


GOOD = http("200 OK", ClassifyResponse(model="m@1", results=()).model_dump_json().encode())


@pytest.mark.parametrize("kind", ["rest", "async rest"])
async def test_only_what_may_be_answered_twice_is_sent_twice(kind: str) -> None:
    answers = listener(lambda n: None if n < 3 else GOOD)
    async with answers as (port, heads), calling(kind, port, 1, retry=QUICK) as caller:
        assert (await caller.call(CLASSIFY, REQUEST)).model == "m@1"
        assert len(heads) == 3
        heads.clear()
        error = await failure(caller.call(ONCE, REQUEST))
        assert (error.code, len(heads)) == (Code.UNAVAILABLE, 1)


@pytest.mark.parametrize("kind", ["rest", "async rest"])
async def test_headers_say_what_was_asked_for(kind: str) -> None:
    async with listener(lambda _: GOOD) as (port, heads), calling(kind, port, 1) as caller:
        await caller.call(CLASSIFY, REQUEST, timeout=5, priority=Priority.HIGH, request_id="mine")
    lines = heads[0].decode().lower().splitlines()
    assert {"x-request-id: mine", "x-request-priority: high"} <= set(lines)
    (seconds,) = [float(line.split(": ")[1]) for line in lines if line.startswith("x-request-timeout")]
    assert 4 < seconds <= 5


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http("404 Not Found", b"<html>"), Code.NOT_FOUND),
        (http("502 Bad Gateway", b"<html>"), Code.UNAVAILABLE),
        (http("200 OK", b"<html>"), Code.INTERNAL),
        (http("200 OK", b'{"model": 1}'), Code.INTERNAL),
        (http("400 x", json.dumps({"error": {"code": "NEW_CODE"}}).encode()), Code.INVALID_ARGUMENT),
        (http("429 Too Many", b"slow down"), Code.OVERLOADED),
        (http("403 Forbidden", b""), Code.PERMISSION_DENIED),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", Code.UNAVAILABLE),
        (b"no http at all\r\n\r\n", Code.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("kind", ["rest", "async rest"])
async def test_what_is_no_answer_of_ours_is_told_as_that(kind: str, answer: bytes, code: Code) -> None:
    async with listener(lambda _: answer) as (port, _), calling(kind, port, 1, retry=NEVER) as caller:
        assert (await failure(caller.call(CLASSIFY, REQUEST))).code is code


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "", "http://[::1", "http://a:b:c"])
def test_what_is_no_url_is_told_at_once(url: str) -> None:
    for client in (RestClient, AsyncRestClient):
        with pytest.raises(ServingError) as caught:
            client(url)
        assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "url")


@pytest.mark.parametrize("body", [b"[]", b"no", b"{}", b'{"tasks": 1, "data": [{}]}'])
async def test_pages_that_are_not_ours_are_told_as_that(body: bytes) -> None:
    async with listener(lambda _: http("200 OK", body)) as (port, _):
        client = AsyncRestClient(f"http://127.0.0.1:{port}", retry=NEVER)
        for page in (client.tasks(), client.models(), client.ready()):
            assert "not as a Chorale server does" in (await failure(page)).message
        await client.close()


@pytest.mark.parametrize("kind", ["rest", "async rest"])
async def test_an_answer_that_drips_ends_at_the_timeout(kind: str) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(50):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.1)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with calling(kind, server.sockets[0].getsockname()[1], 1) as caller:
        started = time.monotonic()
        assert (await failure(caller.call(CLASSIFY, REQUEST, timeout=0.5))).code is Code.DEADLINE_EXCEEDED
        assert time.monotonic() - started < 2
    server.close()


async def test_a_plain_post_is_sent_once_unless_it_may_be_sent_again() -> None:
    async with listener(lambda _: None) as (port, heads):
        client = AsyncRestClient(f"http://127.0.0.1:{port}", retry=Retry(2, 0.01))
        await failure(client.post("/v1/classify", {}))
        assert len(heads) == 1
        await failure(client.post("/v1/classify", {}, idempotent=True))
        assert len(heads) == 4
        await client.close()


def test_a_scheme_in_capitals_is_as_secure() -> None:
    assert RestClient("HTTPS://localhost")._secure


async def test_options_that_there_are_not_are_told() -> None:
    with RestClient() as client:
        with pytest.raises(TypeError, match="timout"):
            client.tasks(timout=1)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="timeout"):
            client.tasks(timeout=float("nan"))


async def test_a_newer_server_is_understood() -> None:
    answer = {"model": "m@1", "results": [], "novelty": 1, "usage": {"tokens": 3, "joules": 2}}
    said = http("200 OK", json.dumps(answer).encode())
    async with listener(lambda _: said) as (port, _), calling("async rest", port, 1) as caller:
        assert (await caller.call(CLASSIFY, REQUEST)).usage == Usage(tokens=3)


async def test_what_a_server_announces_is_read(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, AsyncRestClient(f"http://127.0.0.1:{server.settings.rest_port}") as client:
        cards = {card.name: card for card in await client.tasks()}
        assert cards["classification"].methods[0].rpc == TASK.rpc(CLASSIFY)
        assert await client.ready() == {"classification": True, "echo": True, "translation": True}
        models = {card.task: card for card in await client.models()}
        assert (models["classification"].id, models["classification"].licence) == ("fake@1", "none")
        answer = await client.post(cards["echo"].methods[0].route, cards["echo"].examples[0])
        assert answer["results"] == [cards["echo"].examples[0]]


async def test_a_server_that_is_not_ready_is_told_from_one_that_is_away() -> None:
    body = b'{"ready": false, "tasks": {"classification": false, "echo": true}}'
    said = listener(lambda n: http("503 Service Unavailable", body if n == 1 else b"no"))
    async with said as (port, _), AsyncRestClient(f"http://127.0.0.1:{port}", retry=NEVER) as client:
        assert await client.ready() == {"classification": False, "echo": True}
        assert (await failure(client.ready())).code is Code.UNAVAILABLE


async def test_a_method_of_an_unknown_task_is_told_as_that() -> None:
    with GrpcClient("127.0.0.1:1", tasks=[]) as client, pytest.raises(ValueError, match="tasks="):
        client.call(CLASSIFY, REQUEST)


scores = st.floats(0, 1, width=32)
labels = st.builds(LabelScore, label=st.text(max_size=5), score=scores)
responses = st.builds(
    ClassifyResponse,
    model=st.just("m@1"),
    usage=st.builds(Usage, tokens=st.integers(0, 2**31 - 1)),
    results=st.lists(st.builds(Classification, labels=st.lists(labels, max_size=3).map(tuple)), max_size=3).map(tuple),
)


@given(responses)
def test_an_answer_read_from_protobuf_is_the_answer_that_was_written(answer: ClassifyResponse) -> None:
    message = protobuf.message_class(TASK, ClassifyResponse)
    read = protobuf.read(protobuf.encode(answer, message), message, ClassifyResponse)
    assert read == answer


@given(
    st.sampled_from([0, 1, 20, 3000]),
    st.floats(0.001, 10),
    st.floats(0.001, 10),
    st.none() | st.floats(0, 20),
    st.floats(1, 100),
)
def test_pauses_grow_keep_their_bounds_and_end(
    times: int, first: float, longest: float, asked: float | None, timeout: float
) -> None:
    call = Call(Retry(times, first, longest), timeout, {}, idempotent=True)
    error = ServingError(Code.UNAVAILABLE, "away", retry_after=asked)
    pauses = []
    try:
        while len(pauses) <= times:
            pauses.append(call.pause(error))
    except ServingError as raised:
        assert raised is error
    assert len(pauses) <= times
    assert all((asked or 0) <= pause <= max(longest, asked or 0) for pause in pauses)
    assert all(pause < timeout for pause in pauses)
