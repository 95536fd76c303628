"""Processes die under load, replicas are replaced, calls are cancelled: what must not be lost is not; nothing stays."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from loadtests.bench import processes
from loadtests.failure.traffic import Traffic, silence
from services.pb.chorale.echo.v1.echo_pb2 import EchoRequest
from tests.runtime.process import Chorale, chorale
from tests.serving import CLASSIFICATION, serve

ECHO = "/chorale.echo.v1.EchoService/Echo"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Chorale]:
    with chorale("--tasks", "classification", timeout=280, CHORALE_REPLICAS="2") as running:
        time.sleep(3)  # the second of each may come a moment later
        yield running


def traffic(cluster: Chorale) -> Traffic:
    return Traffic(CLASSIFICATION, cluster.rest_port, cluster.grpc_port, cluster.grpc_port + 1)


def kill(cluster: Chorale, label: str) -> None:
    family = psutil.Process(cluster.process.pid).children(recursive=True)
    next(process for process in family if processes.label(process).startswith(label)).kill()


@pytest.mark.cluster
@pytest.mark.timeout(300)
class TestCluster:
    @pytest.mark.parametrize("victim", ["ServeReplica:classification", "ServeReplica:gateway", "ServeController"])
    async def test_a_killed_process_loses_no_call_and_spoils_no_answer(self, cluster: Chorale, victim: str) -> None:
        async with traffic(cluster) as running:
            await asyncio.sleep(1)
            kill(cluster, victim)
            await asyncio.sleep(5)
        for way, seen in running.seen.items():
            assert (way, seen.failed, seen.wrong) == (way, [], [])
            assert len(seen.good) > 50

    async def test_haproxy_comes_back_and_grpc_lanes_do_not_notice(self, cluster: Chorale) -> None:
        async with traffic(cluster) as running:
            started = time.monotonic()
            kill(cluster, "haproxy")
            await asyncio.sleep(12)
            ended = time.monotonic()
        for way, seen in running.seen.items():
            assert seen.wrong == []
            # How long it takes on a quiet machine, `make failure` measures.
            found = silence(seen.good, started, ended)
            assert found <= (2.0 if way == "gRPC lane" else 10.0), (way, found)
        # What goes through the gateway's gRPC is idempotent, and sent again until HAProxy is back.
        assert running.seen["gateway gRPC"].failed == running.seen["gRPC lane"].failed == []

    async def test_a_rolling_update_loses_nothing(self, cluster: Chorale) -> None:
        before = {process.pid for process in replicas(cluster)}
        async with traffic(cluster) as running, asyncio.timeout(90):
            cluster.process.send_signal(1)  # SIGHUP
            while replicas(cluster) == [] or before & {process.pid for process in replicas(cluster)}:
                await asyncio.sleep(0.2)
            await asyncio.sleep(2)
        assert {way: seen.failed for way, seen in running.seen.items() if seen.failed} == {}
        assert not any(seen.wrong for seen in running.seen.values())
        assert "reloaded" in cluster.output


def replicas(cluster: Chorale) -> list[psutil.Process]:
    family = psutil.Process(cluster.process.pid).children(recursive=True)
    return [process for process in family if processes.label(process).startswith("ServeReplica:")]


async def test_ten_thousand_calls_a_tenth_of_them_cancelled_leave_nothing_behind(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        call = server.channel.unary_unary(ECHO)
        data = EchoRequest(text=["some text"] * 20).SerializeToString()
        await asyncio.gather(*(call(data, timeout=20) for _ in range(500)))  # what is allocated once, is now
        tasks, memory = len(asyncio.all_tasks()), psutil.Process().memory_info().rss
        ended = {"answered": 0, "cancelled": 0}

        async def caller(number: int) -> None:
            for turn in range(200):
                if (turn + number) % 10:
                    await call(data, timeout=20)
                    ended["answered"] += 1
                else:
                    await cancelled(call(data, timeout=20), number)
                    ended["cancelled"] += 1

        await asyncio.gather(*(caller(number) for number in range(50)))
        assert ended == {"answered": 9000, "cancelled": 1000}
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.05)
        assert server.service.waiting == 0
        metrics = (await server.rest.get("/metrics")).text.splitlines()
        gauges = [line for line in metrics if line.startswith(("chorale_inflight{", "chorale_queue_depth{"))]
        assert gauges
        assert [line for line in gauges if not line.endswith(" 0.0")] == []
        assert psutil.Process().memory_info().rss - memory < 30_000_000


async def cancelled(call: "grpc.aio.UnaryUnaryCall[bytes, bytes]", number: int) -> None:
    await asyncio.sleep(number % 7 / 2000)  # before it is sent, in the queue, in the engine, or after
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
