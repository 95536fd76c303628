"""Live calls and uploads through a real local Ray cluster: HAProxy, the gateway and a task's own lane."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from services.clients import Code, GrpcClient, RestClient, ServingError
from tests.runtime.process import Chorale, chorale
from tests.served.relay import RELAY, STREAM_RELAY, TASK, RelayRequest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SERVED = Path(__file__).parents[1] / "served"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Chorale]:
    with chorale(
        "--tasks",
        "relay",
        timeout=240,
        CHORALE_TASK_PACKAGES="services.tasks,tests.served",
        CHORALE_CATALOG=f"bundled,{SERVED / 'catalog'}",
        CHORALE_IDLE_SECONDS="3",
    ) as running:
        yield running


@pytest.mark.parametrize("prefix", ["", "/relay"], ids=["gateway", "task lane"])
def test_a_live_call(cluster: Chorale, prefix: str) -> None:
    requests = [RelayRequest(data=b"x" * size) for size in (1, 1000, 500_000)]
    with RestClient(cluster.url + prefix) as client:
        assert [part.size for part in client.converse(STREAM_RELAY, requests)] == [1, 1000, 500_000]
        with pytest.raises(ServingError) as caught:
            list(client.converse(STREAM_RELAY, [RelayRequest(data=b"a"), RelayRequest(model="no", data=b"boom")]))
    assert caught.value.code is Code.INTERNAL


@pytest.mark.parametrize("prefix", ["", "/relay"], ids=["gateway", "task lane"])
def test_a_caller_that_stalls(cluster: Chorale, prefix: str) -> None:
    with connect(f"ws{cluster.url.removeprefix('http')}{prefix}{STREAM_RELAY.route}") as socket:
        socket.send(b"a")
        assert json.loads(socket.recv())["size"] == 1
        assert json.loads(socket.recv(timeout=20))["error"]["code"] == "DEADLINE_EXCEEDED"


def test_a_page_from_elsewhere(cluster: Chorale) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(
            f"ws{cluster.url.removeprefix('http')}{STREAM_RELAY.route}",
            origin="https://evil.example.org",  # type: ignore[arg-type]
        ),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_a_live_call_over_grpc(cluster: Chorale) -> None:
    with GrpcClient(f"127.0.0.1:{cluster.grpc_port}", tasks=(TASK,)) as client:
        parts = list(client.converse(STREAM_RELAY, [RelayRequest(data=b"a"), RelayRequest(data=b"ab", times=2)]))
    assert [part.size for part in parts] == [1, 2, 2]


@pytest.mark.parametrize("prefix", ["", "/relay"], ids=["gateway", "task lane"])
def test_a_large_upload(cluster: Chorale, prefix: str) -> None:
    data = bytes(range(256)) * 100_000
    with RestClient(cluster.url + prefix) as client:
        (part,) = client.call(RELAY, RelayRequest(data=data)).parts
    assert (part.size, part.sum, part.mapped) == (len(data), zlib.crc32(data), True)
