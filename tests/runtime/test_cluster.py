"""A real local Ray cluster, started as a user starts it, over real HTTP and gRPC."""

import asyncio
import ipaddress
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.pb.chorale.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.runtime.process import Chorale, chorale

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ECHO = "/chorale.echo.v1.EchoService/Echo"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Chorale]:
    with chorale("--tasks", "echo", timeout=240, CHORALE_MAX_REQUEST_BYTES="3000000") as running:
        yield running


def family(running: Chorale) -> list[psutil.Process]:
    root = psutil.Process(running.process.pid)
    return [root, *root.children(recursive=True)]


def replica(running: Chorale, name: str) -> psutil.Process:
    return next(process for process in family(running) if f"ServeReplica:{name}" in " ".join(process.cmdline()))


@pytest.mark.parametrize("prefix", ["", "/echo"], ids=["gateway", "task lane"])
async def test_rest(cluster: Chorale, prefix: str) -> None:
    async with httpx.AsyncClient(base_url=cluster.url + prefix) as client:
        answer = await client.post(
            "/v1/echo", json={"text": ["hi", "naïve 日本語 👩‍👩‍👧"]}, headers={"x-request-id": "mine"}
        )
        assert answer.json()["results"] == [{"text": "hi"}, {"text": "naïve 日本語 👩‍👩‍👧"}]
        assert answer.headers.get_list("x-request-id") == ["mine"]
        assert (await client.get("/v1/tasks")).json()["tasks"][0]["name"] == "echo"
        assert (await client.get("/readyz")).json() == {"ready": True, "tasks": {"echo": True}}
        assert "chorale_request_seconds" in (await client.get("/metrics")).text


@pytest.mark.parametrize("prefix", ["", "/echo"], ids=["gateway", "task lane"])
async def test_errors_are_the_same_one_hop_away(cluster: Chorale, prefix: str) -> None:
    cases = [
        ({"text": ["fine", " "]}, {}, 400, "text[1]"),
        ({"text": "a", "model": "nobody"}, {}, 404, "model"),
        ({"text": "a"}, {"x-request-timeout": "0"}, 408, None),
        ({"text": "a" * 3_100_000}, {}, 413, None),
    ]
    async with httpx.AsyncClient(base_url=cluster.url + prefix) as client:
        for body, headers, status, param in cases:
            answer = await client.post("/v1/echo", json=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
        unknown = await client.post("/v1/nope", json={})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("prefix", ["", "/echo"], ids=["gateway", "task lane"])
async def test_nothing_of_serves_own_ingress_is_in_the_way(cluster: Chorale, prefix: str) -> None:
    """It would echo any request id, and cost more than all the rest: see services/runtime/ray_ingress.py."""
    async with httpx.AsyncClient(base_url=cluster.url + prefix) as client:
        answer = await client.post("/v1/echo", json={"text": ""}, headers={"x-request-id": "x" * 200})
        (identity,) = answer.headers.get_list("x-request-id")
        assert identity == answer.json()["error"]["request_id"] != "x" * 200


async def test_grpc(cluster: Chorale) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.grpc_port}") as channel:
        call = channel.unary_unary(ECHO)
        answer = EchoResponse.FromString(await call(EchoRequest(text=["a", "b"]).SerializeToString()))
        assert [result.text for result in answer.results] == ["a", "b"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(EchoRequest(text=["a"], model="nobody").SerializeToString())
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert dict(caught.value.trailing_metadata() or ())["x-chorale-code"] == "NOT_FOUND"
        check = health_pb2_grpc.HealthStub(channel).Check
        async with asyncio.timeout(10):
            while (await check(health_pb2.HealthCheckRequest())).status != health_pb2.HealthCheckResponse.SERVING:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("prefix", ["", "/echo"], ids=["gateway", "task lane"])
async def test_many_at_once_are_all_answered_with_their_own_text(cluster: Chorale, prefix: str) -> None:
    async with httpx.AsyncClient(base_url=cluster.url + prefix, timeout=60) as client:
        texts = [f"text {number}" for number in range(300)]
        answers = await asyncio.gather(*(client.post("/v1/echo", json={"text": text}) for text in texts))
        assert [answer.json()["results"][0]["text"] for answer in answers] == texts


async def test_a_large_answer_crosses_the_hop(cluster: Chorale) -> None:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=60) as client:
        answer = await client.post("/v1/echo", json={"text": ["x" * 2800] * 1000})
        assert len(answer.json()["results"]) == 1000


def test_everything_listens_on_loopback(cluster: Chorale) -> None:
    addresses = {
        (connection.laddr.ip, connection.laddr.port, process.name())
        for process in family(cluster)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert cluster.rest_port in {port for _, port, _ in addresses}
    assert [
        address for address in addresses if not ipaddress.ip_address(address[0].removeprefix("::ffff:")).is_loopback
    ] == []


def test_no_serving_process_imports_torch(cluster: Chorale) -> None:
    for process in family(cluster):
        assert not any("libtorch" in mapped.path for mapped in process.memory_maps()), process.cmdline()


async def test_a_killed_replica_comes_back_and_nothing_worse_than_unavailable_is_seen(cluster: Chorale) -> None:
    killed = replica(cluster, "echo:")
    killed.kill()
    statuses = set()
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client, asyncio.timeout(60):
        while True:
            answer = await client.post("/v1/echo", json={"text": "a"}, headers={"x-request-timeout": "5"})
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                break
            assert answer.json()["error"]["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
            await asyncio.sleep(0.05)
        while (await client.post("/echo/v1/echo", json={"text": "a"})).status_code != 200:
            await asyncio.sleep(0.05)
    assert replica(cluster, "echo:").pid != killed.pid
    assert statuses <= {200, 408, 503}


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_drains_exits_0_and_leaves_nothing(number: int) -> None:
    with chorale("--tasks", "echo", timeout=240) as running:
        processes = family(running)
        started = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(running.process.pid, number)  # as a terminal does: the whole group gets it
        else:
            running.process.send_signal(number)
        assert running.process.wait(60) == 0
        assert time.monotonic() - started < 30
        _, alive = psutil.wait_procs(processes, timeout=15)
        assert [process.cmdline() for process in alive if process.is_running()] == []
        assert "Traceback" not in running.output
        assert "SIGTERM received" not in running.output
        assert list(Path("/tmp").glob(f"chorale-{running.process.pid}-*")) == []


@pytest.mark.parametrize("name", ["raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_without_ray_it_ends_and_says_why(name: str) -> None:
    with chorale("--tasks", "echo", timeout=240) as running:
        processes = family(running)
        next(process for process in processes if process.name() == name).kill()
        assert running.process.wait(30) == 1
        assert [process.cmdline() for process in processes if process.is_running()] == []
        assert f"Ray's {name} was killed" in running.output
        assert list(Path("/tmp").glob(f"chorale-{running.process.pid}-*")) == []


def test_with_ray_metrics_ray_exports_what_replicas_record() -> None:
    with chorale("--tasks", "echo", timeout=240, CHORALE_RAY_METRICS="true") as running:
        assert httpx.post(f"{running.url}/echo/v1/echo", json={"text": "a"}).status_code == 200
        assert httpx.post(f"{running.url}/echo/v1/echo", json={"text": ""}).status_code == 400
        ports = {
            connection.laddr.port
            for process in family(running)
            if "DashboardAgent" in " ".join(process.cmdline())
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        wanted = ("ray_chorale_request_seconds_count{", 'outcome="invalid"', 'protocol="rest"')
        end = time.monotonic() + 60
        while not any(all(word in line for word in wanted) for port in ports for line in scrape(port)):
            assert time.monotonic() < end, "never exported"
            time.sleep(1)


def scrape(port: int) -> list[str]:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=3).text.splitlines()
    except httpx.HTTPError:
        return []  # a port of the agent that speaks another protocol
