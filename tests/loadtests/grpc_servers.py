"""What the tests of gRPC lanes share: servers, scripted and grpc's own, and a window against them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from loadtests.bench import http2
from loadtests.bench.grpc_lanes import GrpcLanes
from loadtests.bench.http2 import FrameReader, frame
from loadtests.bench.lanes import Log
from loadtests.bench.samples import Sample, wire
from services.pb.chorale.echo.v1.echo_pb2 import EchoResponse

ECHO = wire("echo")
SETTINGS = http2.settings({})

Handler = Callable[[bytes, Any], Awaitable[bytes]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def samples(*texts: str, answer: str | None = None) -> list[Sample]:
    return [Sample(text, (answer or text, 0.0)) for text in texts]


async def window(lanes: GrpcLanes, seconds: float = 0.1) -> Log:
    log = Log(time.perf_counter() + seconds)
    async with asyncio.timeout(20):
        await lanes.run(log)
    lanes.check()
    return log


async def seen(port: int, samples: Sequence[Sample], in_flight: int = 4, seconds: float = 0.1) -> Log:
    lanes = await GrpcLanes.open(ECHO, samples, port, in_flight)
    try:
        return await window(lanes, seconds)
    finally:
        await lanes.close()


@asynccontextmanager
async def grpc_server(handler: Handler) -> AsyncIterator[tuple[int, grpc.aio.Server]]:
    """grpc's own, with one method."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    method = grpc.unary_unary_rpc_method_handler(handler)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ECHO.task.service, {"Echo": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port, server
    await server.stop(None)


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """A server that says what the script says, whatever it is asked."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(run, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def asked(reader: asyncio.StreamReader, count: int = 1) -> list[int]:
    """The streams of that many requests, once they are whole."""
    frames, streams = FrameReader(), list[int]()
    await reader.readexactly(len(http2.PREFACE))
    while len(streams) < count:
        found = frames.feed(await reader.read(65536))
        streams += [stream for kind, flags, stream, _ in found if kind == http2.DATA and flags & http2.END_STREAM]
    return streams


def response(text: str) -> bytes:
    message = EchoResponse(results=[{"text": text}]).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


def answer(stream: int, text: str) -> bytes:
    """Headers from the static table (:status 200), then a literal grpc-status."""
    trailers = b"\x00\x0bgrpc-status\x010"
    return (
        frame(http2.HEADERS, http2.END_HEADERS, stream, b"\x88")
        + frame(http2.DATA, 0, stream, response(text))
        + frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, trailers)
    )
