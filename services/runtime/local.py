"""Everything in one process: all tasks, one uvicorn, one grpc.aio server, one event loop."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import uvicorn

from services.core.settings import Settings
from services.edges.grpc import build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime.loading import load_service, read_world
from services.runtime.meters import PrometheusMeter


class PortInUse(Exception):
    """A port to listen on is taken; the message says which setting to change."""


def probe_ports(settings: Settings) -> None:
    """Fail early and clearly if a port is taken. No SO_REUSEPORT: with it two servers would share the port silently.

    Raises:
        PortInUse
    """
    for name in ("rest_port", "grpc_port"):
        port = getattr(settings, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                flag = f"--{name.replace('_', '-')}"
                raise PortInUse(
                    f"port {port} on {settings.host} is in use; stop what listens there, or choose another with {flag}"
                ) from None


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to us: its own handling would end the process with the signal, not with 0."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def run_local(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then drain and return."""
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(settings, on_ready))


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    probe_ports(settings)
    tasks, catalog = read_world(settings)
    meter = PrometheusMeter()
    service = load_service(tasks, catalog, settings, meter)
    grpc_server = build_grpc_server(tasks, service, meter, settings)
    app = build_rest_app(tasks, service, catalog, meter, settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.rest_port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    rest_server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, setattr, rest_server, "should_exit", True)
    await grpc_server.server.start()
    await grpc_server.set_serving(True)
    serving = asyncio.create_task(rest_server.serve())
    while not rest_server.started and not serving.done():
        await asyncio.sleep(0.01)
    if rest_server.started:
        on_ready()
    await serving
    await grpc_server.set_serving(False)
    await grpc_server.server.stop(settings.drain_seconds)
    await asyncio.to_thread(service.close)
