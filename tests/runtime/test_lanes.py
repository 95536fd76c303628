"""The gRPC lane in each task's replica: its port, its certificates, its replicas, and scaling by work on hand."""

import asyncio
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.core.settings import Settings
from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest, ClassifyResponse
from services.runtime import autoscaling
from services.runtime.local import PortInUseError, probe_ports
from tests.edges.test_grpc import certificates
from tests.runtime.process import Chorale, chorale
from tests.serving import CLASSIFICATION, free_grpc_port, free_port

CLASSIFY = "/chorale.classification.v1.ClassificationService/Classify"


def test_a_lane_moves_with_the_grpc_port() -> None:
    assert Settings().lane_port(9001) == 9001
    assert Settings(grpc_port=7000).lane_port(9099) == 7099


def test_a_lane_whose_port_is_taken_is_told_before_anything_starts() -> None:
    rest_port = free_port()
    settings = Settings(rest_port=rest_port, grpc_port=free_grpc_port(rest_port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.lane_port(CLASSIFICATION.grpc_port)))
        other.listen()
        with pytest.raises(PortInUseError, match=r"in use; .* choose another with --grpc-port"):
            probe_ports(settings, [CLASSIFICATION])
    probe_ports(settings, [CLASSIFICATION])


def test_a_lane_on_the_rest_port_or_past_the_last_port_is_refused() -> None:
    grpc_port = free_grpc_port()
    with pytest.raises(PortInUseError, match="meant for two things"):
        probe_ports(Settings(rest_port=grpc_port + 1, grpc_port=grpc_port), [CLASSIFICATION])
    with pytest.raises(Exception, match="at port 65536; choose a lower --grpc-port"):
        probe_ports(Settings(rest_port=free_port(), grpc_port=65535), [CLASSIFICATION])


class Context:
    """What Serve hands to a policy, as far as ours looks."""

    def __init__(self, *work: float) -> None:
        self.aggregated_metrics = {autoscaling.WORK: dict(enumerate(work))} if work else {}


@pytest.mark.parametrize(
    ("work", "replicas"), [((), 1), ((0.0,), 1), ((0.2,), 1), ((0.21,), 2), ((0.5, 0.5), 5), ((0.0, 0.0, 0.1), 1)]
)
def test_replicas_follow_the_engine_time_on_hand(work: tuple[float, ...], replicas: int) -> None:
    assert autoscaling.policy(Context(*work))[0] == replicas  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Chorale]:
    """One replica that may become two, behind mTLS."""
    key, certificate = certificates(folder)
    files = {"CERTIFICATE": certificate, "KEY": key, "CLIENT_CA": certificate}
    tls = {f"CHORALE_TLS_{name}": str(path) for name, path in files.items()}
    with chorale("--tasks", "classification", timeout=280, CHORALE_MAX_REPLICAS="2", **tls) as running:
        yield running


def channel(cluster: Chorale, folder: Path, *, port: int, client_certificate: bool = True) -> grpc.aio.Channel:
    key, certificate = (folder / name for name in ("key.pem", "cert.pem"))
    pair = (key.read_bytes(), certificate.read_bytes()) if client_certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes(), *pair)
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


def replicas(cluster: Chorale) -> list[psutil.Process]:
    family = psutil.Process(cluster.process.pid).children(recursive=True)
    return [process for process in family if "ServeReplica:classification" in " ".join(process.cmdline())]


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command to make certificates")
class TestCluster:
    async def test_the_lane_answers_as_the_gateway_does(self, cluster: Chorale, folder: Path) -> None:
        answers = []
        for port in (cluster.grpc_port, cluster.grpc_port + 1):
            async with channel(cluster, folder, port=port) as connection:
                data = ClassifyRequest(text=["Lovely.", "Awful."]).SerializeToString()
                answers.append(ClassifyResponse.FromString(await connection.unary_unary(CLASSIFY)(data, timeout=10)))
                check = health_pb2_grpc.HealthStub(connection).Check
                assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        assert answers[0] == answers[1]
        assert [result.labels[0].label for result in answers[0].results] == ["positive", "negative"]

    async def test_without_a_client_certificate_the_lane_is_closed(self, cluster: Chorale, folder: Path) -> None:
        async with channel(cluster, folder, port=cluster.grpc_port + 1, client_certificate=False) as connection:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await connection.unary_unary(CLASSIFY)(ClassifyRequest(text=["a"]).SerializeToString(), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_work_on_hand_brings_a_second_replica_on_the_same_port(self, cluster: Chorale, folder: Path) -> None:
        assert len(replicas(cluster)) == 1
        data = ClassifyRequest(text=["It was the best of times, it was the worst of times."] * 200).SerializeToString()
        async with channel(cluster, folder, port=cluster.grpc_port + 1) as connection, asyncio.timeout(120):
            call = connection.unary_unary(CLASSIFY)

            async def caller() -> None:
                while len(listening(cluster)) < 2:
                    try:
                        assert len(ClassifyResponse.FromString(await call(data, timeout=60)).results) == 200
                    except grpc.aio.AioRpcError as error:  # a slow machine has work enough without this call
                        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                        await asyncio.sleep(0.2)

            await asyncio.gather(*(caller() for _ in range(8)))
        assert {process.pid for process in replicas(cluster)} == listening(cluster)


def listening(cluster: Chorale) -> set[int]:
    """Replicas that have the lane's port."""
    return {
        process.pid
        for process in replicas(cluster)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == cluster.grpc_port + 1
    }
