"""The gRPC server: one service per task, plus health and reflection; its limits, its certificates and its end.

What the methods do is in `grpc_handlers`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.core.inference import Backend
from services.core.settings import Settings
from services.core.task import Task
from services.core.telemetry import Meter
from services.edges.endpoint import Endpoint
from services.edges.grpc_handlers import HANDLERS, Unknown

_REFLECTION = "ServerReflection"

_MAX_STREAMS = 4096
"""Calls under way on one connection. Of more at once, gRPC itself refuses some as UNAVAILABLE."""

_MAX_PENDING = (1000, 2000)
"""Calls that wait for the event loop to come to them: past the first number gRPC cancels some, past the second all.
Without an end to it, under overload the loop would only ever come to calls whose callers have given up."""

_LAST_CALLS = 0.3
"""Seconds without a call under way after which a stopping server ends."""


@dataclass(frozen=True)
class Port:
    """Where to listen.

    Args:
        number: the port.
        shared: replicas on one node listen on the same port and the kernel spreads connections (SO_REUSEPORT).
    """

    number: int
    shared: bool = False


@dataclass(frozen=True)
class GrpcServer:
    """A server not yet started, and the health it reports."""

    server: grpc.aio.Server
    health: Any  # health.aio.HealthServicer, which has no types
    services: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]

    async def set_serving(self, *, serving: bool) -> None:
        """Report SERVING or NOT_SERVING for the whole server and each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self.services):
            await self.health.set(name, status)

    async def stop(self, seconds: float) -> None:
        """Turn NOT_SERVING, refuse new calls, and wait up to ``seconds`` for calls of tasks that are under way.

        Health and reflection streams, which clients hold open for ever, are not waited for.
        """
        await self.set_serving(serving=False)
        stopping = asyncio.create_task(self.server.stop(seconds))
        quiet = 0.0
        # Calls may be on the wire that were sent before their client heard of the end: they, too, are answered.
        while not stopping.done() and quiet < _LAST_CALLS:
            await asyncio.sleep(0.02)
            quiet = 0.0 if any(endpoint.inflight for endpoint in self.endpoints) else quiet + 0.02
        await self.server.stop(None)
        await stopping


def build_grpc_server(
    tasks: Sequence[Task],
    backend: Backend,
    meter: Meter,
    settings: Settings,
    port: Port | None = None,
) -> GrpcServer:
    """The gRPC server of these tasks on ``settings.host``, with TLS when a certificate is set.

    Args:
        tasks: their methods are served.
        backend: answers them.
        meter: where metrics go.
        settings: address, certificates and limits.
        port: by default ``settings.grpc_port``, not shared.

    Raises:
        RuntimeError: the port is taken.
    """
    # grpcio refuses over-long messages with a bare status. Twice the limit is let through, so that what is only
    # somewhat too long gets the same error as on REST.
    port = port or Port(settings.grpc_port)
    options = [
        ("grpc.max_receive_message_length", 2 * settings.max_request_bytes),
        ("grpc.so_reuseport", int(port.shared)),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_header_bytes),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.server.max_pending_requests", _MAX_PENDING[0]),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING[1]),
        ("grpc.server_handshake_timeout_ms", int(settings.header_seconds * 1000)),
        # A client that vanished without a word is found out within 80 s; those that ping us may do so each 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]
    server = grpc.aio.server(options=options)
    endpoints = []
    for task in tasks:
        own = [Endpoint(task, method, "grpc", backend, meter, settings) for method in task.methods]
        handlers = {
            endpoint.method.verb: HANDLERS[endpoint.method.kind](endpoint, settings.max_request_bytes)
            for endpoint in own
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(task.service, handlers),))
        endpoints += own
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    services = tuple(task.service for task in tasks)
    _add_reflection(server, (*services, health.SERVICE_NAME, reflection.SERVICE_NAME))
    _listen(server, f"{settings.host}:{port.number}", settings)
    server.add_generic_rpc_handlers((Unknown(),))  # the last one is asked last
    return GrpcServer(server, servicer, services, tuple(endpoints))


def _add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    reflection.enable_server_reflection(services, server)
    # grpcio ships v1alpha only. v1 has the same messages field for field, so the same servicer answers both names.
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(services).ServerReflectionInfo,  # type: ignore[attr-defined]
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"grpc.reflection.v1.{_REFLECTION}", methods),)
    )


def _listen(server: grpc.aio.Server, address: str, settings: Settings) -> None:
    if settings.tls_certificate and settings.tls_key:
        client_ca = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
        pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
