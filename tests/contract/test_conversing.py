"""Live calls and uploads: one contract for every client, straight to the models and through a gateway."""

import asyncio
import gc
import mmap
import threading
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from services.clients import Code
from services.edges import protobuf
from tests.relay import RELAY, TASK, RelayRequest, until
from tests.talking import KINDS, LIMIT, WAYS, Place, blocks, failure, paced, place, talk


@pytest.fixture(scope="module", params=WAYS)
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with place(request.param) as found:
        yield found


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
        found, error = await failure(talk(anywhere, kind, paced(requests)))
    assert (error.code, error.param, words in error.message) == (code, param, True), error
    assert len(found) <= 1  # what comes before the error may be overtaken by it
    await until(lambda: anywhere.pipeline.talks == 0)


@pytest.mark.slow  # one in some hundred calls of the synchronous REST client through the gateway takes too long to end
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
