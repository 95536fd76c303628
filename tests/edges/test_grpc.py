"""What only gRPC can get wrong: wire bytes, status and trailers, deadlines, health, reflection, TLS."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.catalog import BatchPolicy
from services.pb.chorale.classification.v1.classification_pb2 import ClassifyRequest, ClassifyResponse
from tests.serving import GatedEncoder, Server, serve

CLASSIFY = "/chorale.classification.v1.ClassificationService/Classify"


def classify(*text: str) -> bytes:
    return ClassifyRequest(text=text).SerializeToString()


async def test_one_call(server: Server) -> None:
    answer = ClassifyResponse.FromString(await server.rpc(CLASSIFY, classify("a", "b")))
    assert [len(result.labels) for result in answer.results] == [2, 2]
    assert answer.model == "fake@1"


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x12\x05ab", b"\x12\x01\xff"], ids=["garbage", "cut off", "not UTF-8"]
)
async def test_malformed_messages_are_invalid_argument(server: Server, data: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFY, data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ClassifyRequest" in caught.value.details()


async def test_unknown_fields_are_refused(server: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFY, classify("a") + b"\xa2\x06\x01x")  # field 100
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "100" in caught.value.details()


@given(data=st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_crash_the_server(server: Server, data: bytes) -> None:
    try:
        await server.rpc(CLASSIFY, data)
    except grpc.aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


async def test_an_unknown_method_is_unimplemented(server: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc("/chorale.classification.v1.ClassificationService/Nope", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_errors_of_unknown_methods_have_the_trailers_too(server: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc("/nobody.v1.Service/Nope", b"", metadata=(("x-request-id", "mine"),))
    trailers = dict(caught.value.trailing_metadata() or ())
    assert (trailers["x-request-id"], trailers["x-chorale-code"]) == ("mine", "NOT_FOUND")


async def test_of_a_repeated_header_the_first_counts_as_on_rest(server: Server) -> None:
    twice = (("x-request-timeout", "5"), ("x-request-timeout", "0"))
    assert await server.rpc(CLASSIFY, classify("a"), metadata=twice)


async def test_idle_reflection_streams_hold_nobody_up(server: Server) -> None:
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    calls = [
        server.channel.stream_stream(
            method,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        for _ in range(40)
    ]
    for call in calls:
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.read()
    long = await server.post("/v1/classify", {"text": "word " * 2000, "truncate": True})
    assert long.status_code == 200
    for call in calls:
        call.cancel()


@pytest.mark.parametrize("size", [150_000, 1_000_000])
async def test_oversized_messages_are_refused(server: Server, size: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFY, classify("x" * size))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_full_queue_is_resource_exhausted_with_retry_after(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, BatchPolicy(lanes=1, queue_items=1)) as server:
        running = asyncio.create_task(server.rpc(CLASSIFY, classify("one")))
        await asyncio.to_thread(engine.started.wait)
        waiting = asyncio.create_task(server.rpc(CLASSIFY, classify("two")))
        while not server.service.waiting:
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.rpc(CLASSIFY, classify("three"))
        engine.gate.set()
        trailers = dict(caught.value.trailing_metadata() or ())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailers["x-chorale-code"] == "OVERLOADED"
        assert int(trailers["retry-after"]) >= 1
        await asyncio.gather(running, waiting)


async def test_client_deadlines_and_cancels_free_the_queue(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, BatchPolicy(lanes=1)) as server:
        running = asyncio.create_task(server.rpc(CLASSIFY, classify("one")))
        await asyncio.to_thread(engine.started.wait)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.rpc(CLASSIFY, classify("two"), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        cancelled = asyncio.create_task(server.rpc(CLASSIFY, classify("three")))
        while not server.service.waiting:
            await asyncio.sleep(0.01)
        cancelled.cancel()
        async with asyncio.timeout(10):
            while server.service.waiting:
                await asyncio.sleep(0.01)
        engine.gate.set()
        await running
    assert engine.ran == 1


async def test_health_follows_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        for service in ("", "chorale.classification.v1.ClassificationService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes(server: Server, version: str) -> None:
    call = server.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="chorale.classification.v1.ClassifyRequest"),
    ]
    listed, described = [answer async for answer in call(iter(requests))]
    assert "chorale.classification.v1.ClassificationService" in {s.name for s in listed.list_services_response.service}
    assert described.file_descriptor_response.file_descriptor_proto


def certificates(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    return key, certificate


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command to make certificates")
@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "mTLS"])
async def test_tls(tmp_path: Path, mutual: bool) -> None:
    key, certificate = certificates(tmp_path)
    ca = certificate if mutual else None
    async with serve(tmp_path, tls_certificate=certificate, tls_key=key, tls_client_ca=ca) as server:
        address = f"127.0.0.1:{server.settings.grpc_port}"
        pair = (key.read_bytes(), certificate.read_bytes()) if mutual else (None, None)
        good = grpc.ssl_channel_credentials(certificate.read_bytes(), *pair)
        async with grpc.aio.secure_channel(address, good) as channel:
            assert await channel.unary_unary(CLASSIFY)(classify("a"), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError):  # plaintext to a TLS port
            await server.rpc(CLASSIFY, classify("a"), timeout=2)
        if mutual:
            anonymous = grpc.ssl_channel_credentials(certificate.read_bytes())
            async with grpc.aio.secure_channel(address, anonymous) as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary(CLASSIFY)(classify("a"), timeout=2)
