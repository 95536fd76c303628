"""A server with a full queue: what it refuses before reading, and that nothing else changes by it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.core.catalog import BatchPolicy
from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest
from services.pb.chorale.echo.v1.echo_pb2 import EchoRequest
from tests.serving import GatedEncoder, Server, serve

HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
CLASSIFY = "/chorale.classification.v1.ClassificationService/Classify"
ECHO = "/chorale.echo.v1.EchoService/Echo"


class Full:
    """A server whose lane is busy and whose queue is full, until the gate opens."""

    def __init__(self, server: Server, engine: GatedEncoder, calls: "list[asyncio.Task[object]]") -> None:
        self.server = server
        self._engine = engine
        self._calls = calls

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.settings.rest_port)

    async def empty(self) -> None:
        self._engine.gate.set()
        await asyncio.gather(*self._calls)


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Full]:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, BatchPolicy(lanes=1, queue_items=1)) as server:
        calls: list[asyncio.Task[object]] = [asyncio.create_task(server.post("/v1/classify", {"text": "one"}))]
        await asyncio.to_thread(engine.started.wait)
        calls.append(asyncio.create_task(server.post("/v1/classify", {"text": "two"})))
        while not server.service.waiting:
            await asyncio.sleep(0.01)
        found = Full(server, engine, calls)
        yield found
        await found.empty()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def whole(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_the_answer_comes_before_the_body_and_the_connection_goes_on(full: Full) -> None:
    reader, writer = await full.connect()
    body = json.dumps({"text": "never read"}).encode()
    request = whole(body, b"X-Request-Id: mine\r\n")
    writer.write(request[: -len(body)])
    status, headers, answer = await asyncio.wait_for(read_answer(reader), 5)
    error = json.loads(answer)["error"]
    assert (status, error["code"], error["request_id"]) == (429, "OVERLOADED", "mine")
    assert headers["x-request-id"] == "mine"
    assert int(headers["retry-after"]) >= 1
    writer.write(body)
    await full.empty()
    writer.write(request)
    status, _, _ = await asyncio.wait_for(read_answer(reader), 5)
    assert status == 200
    writer.close()


async def test_a_client_that_will_close_is_closed_on(full: Full) -> None:
    reader, writer = await full.connect()
    writer.write(whole(b"{}", b"Connection: close\r\n"))
    status, headers, _ = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, headers["connection"]) == (429, "close")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_pipelined_requests_are_answered_in_order(full: Full) -> None:
    reader, writer = await full.connect()
    page = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
    writer.write(page + whole(b'{"text": "second"}') + page)
    answers = [await asyncio.wait_for(read_answer(reader), 5) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 429, 200]
    writer.close()


async def test_a_body_of_unknown_length_goes_the_ordinary_way_to_the_same_answer(full: Full) -> None:
    reader, writer = await full.connect()
    body = b'{"text": "chunked"}'
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    status, _, answer = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, json.loads(answer)["error"]["code"]) == (429, "OVERLOADED")
    writer.close()


async def test_what_is_wrong_with_a_call_itself_is_said_first(full: Full) -> None:
    answer = await full.server.post("/v1/classify", {"text": "a"}, headers={"x-request-timeout": "soon"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_ARGUMENT")


async def test_both_protocols_refuse_alike_and_are_counted(full: Full) -> None:
    rest = await full.server.post("/v1/classify", {"text": "a"})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await full.server.rpc(CLASSIFY, ClassifyRequest(text=["a"]).SerializeToString())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == rest.json()["error"]["message"]
    assert dict(caught.value.trailing_metadata() or ())["retry-after"] == rest.headers["retry-after"]
    assert await refusals(full) == ["1.0", "1.0"]


async def test_grpc_sends_a_refused_call_again_if_told_to(full: Full) -> None:
    name = {"service": "chorale.classification.v1.ClassificationService"}
    again = {
        "maxAttempts": 4,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.01s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    config = json.dumps({"methodConfig": [{"name": [name], "retryPolicy": again}]})
    address = f"127.0.0.1:{full.server.settings.grpc_port}"
    async with grpc.aio.insecure_channel(address, [("grpc.service_config", config)]) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(CLASSIFY)(ClassifyRequest(text=["a"]).SerializeToString(), timeout=5)
    assert await refusals(full) == ["4.0"]


async def refusals(full: Full) -> list[str]:
    """How many calls of each protocol were refused."""
    lines = (await full.server.rest.get("/metrics")).text.splitlines()
    rejected = [line for line in lines if line.startswith("chorale_request_seconds_count") and "rejected" in line]
    return sorted(line.rpartition(" ")[2] for line in rejected)


async def test_a_burst_on_one_channel_loses_no_call(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        call = server.channel.unary_unary(ECHO)
        data = EchoRequest(text=["a"]).SerializeToString()

        async def code() -> grpc.StatusCode:
            try:
                await call(data, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert set(await asyncio.gather(*(code() for _ in range(950)))) == {grpc.StatusCode.OK}
