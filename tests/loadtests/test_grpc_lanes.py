"""gRPC lanes against grpc's own server, and against Chorale's."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from loadtests.bench import grpc_lanes
from loadtests.bench.grpc_lanes import GrpcLanes
from services.pb.chorale.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests import serving
from tests.loadtests.grpc_servers import ECHO, grpc_server, samples, seen, window

TEXTS = ("plain words", "naïve “quoted” café", "x" * 5000)


async def test_right_answers_of_a_real_server(tmp_path: Path) -> None:
    async with serving.serve(tmp_path) as server:
        lanes = await GrpcLanes.open(ECHO, samples(*TEXTS), server.settings.grpc_port, 16)
        for _ in range(2):  # the second window goes on with the connection, and its header tables
            log = await window(lanes)
            assert (log.wrong, log.first_wrong) == (0, None)
            assert len(log.latencies) > 16
            assert min(log.latencies) > 0
        await lanes.close()


async def test_a_wrong_answer_is_told(tmp_path: Path) -> None:
    mixed = [*samples("right", "also right"), *samples("wrong", answer="other")]
    async with serving.serve(tmp_path) as server:
        log = await seen(server.settings.grpc_port, mixed)
    assert 0 < log.wrong < len(log.latencies)
    assert "'wrong'" in (log.first_wrong or "")


async def test_refusals_of_a_real_server_are_told(tmp_path: Path) -> None:
    async with serving.serve(tmp_path) as server:
        log = await seen(server.settings.grpc_port, samples("fine", "   "))
    assert 0 < log.wrong < len(log.latencies)
    assert "gRPC INVALID_ARGUMENT: text" in (log.first_wrong or "")


@pytest.mark.parametrize("headers_first", [False, True])
async def test_an_error_is_told_with_its_message(*, headers_first: bool) -> None:
    async def handle(_: bytes, call: Any) -> bytes:
        if headers_first:
            await call.send_initial_metadata((("x-some", "thing"),))
        await call.abort(grpc.StatusCode.UNAVAILABLE, "später, bei 100%", (("x-trailer", "of any kind"),))
        return b""

    async with grpc_server(handle) as (port, _):
        log = await seen(port, samples("a"))
    assert log.wrong == len(log.latencies) > 0
    assert log.first_wrong == "gRPC UNAVAILABLE: später, bei 100%"


@pytest.mark.parametrize("message", [b"\xff\xff", b"", b"\x0a\x03abc"])
async def test_a_message_of_another_kind_is_told(message: bytes) -> None:
    async def handle(_: bytes, call: Any) -> bytes:
        return message

    async with grpc_server(handle) as (port, _):
        log = await seen(port, samples("a"))
    assert log.wrong == len(log.latencies) > 0


async def test_large_requests_and_answers_keep_to_flow_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_lanes, "_GIVE_BACK", 1 << 20)  # so that the connection's window is opened again, too
    monkeypatch.setattr(grpc_lanes, "KEEP", 8 << 20)  # so that answers are checked within the window, too

    async def handle(data: bytes, call: Any) -> bytes:
        assert call.time_remaining() > 20
        return EchoResponse(results=[{"text": EchoRequest.FromString(data).text[0]}]).SerializeToString()

    megabytes = [letter * (1 << 20) for letter in "abc"]
    async with grpc_server(handle) as (port, _):
        log = await seen(port, samples(*megabytes, "small"), in_flight=8, seconds=0.5)
    assert (log.wrong, log.first_wrong) == (0, None)
    assert len(log.latencies) > 12


async def test_a_server_that_stops_is_told() -> None:
    async def handle(data: bytes, call: Any) -> bytes:
        await asyncio.sleep(0.01)
        return EchoResponse(results=[{"text": EchoRequest.FromString(data).text[0]}]).SerializeToString()

    async with grpc_server(handle) as (port, server):
        lanes = await GrpcLanes.open(ECHO, samples("a"), port, 8)
        running = asyncio.create_task(window(lanes, 5.0))
        await asyncio.sleep(0.1)
        await server.stop(1.0)  # GOAWAY; what is in flight is answered
        log = await running
        assert 8 <= log.wrong < len(log.latencies)  # each lane ends; calls on their way may be cancelled
        assert "GOAWAY" in (log.first_wrong or "")
        again = await window(lanes)
        assert again.wrong == len(again.latencies) == 8
        await lanes.close()


async def test_lanes_may_share_several_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(grpc_lanes, "CONNECTIONS", 3)
    async with serving.serve(tmp_path) as server:
        for in_flight in (1, 8):
            log = await seen(server.settings.grpc_port, samples(*TEXTS), in_flight)
            assert (log.wrong, log.first_wrong) == (0, None)
            assert len(log.latencies) >= in_flight
