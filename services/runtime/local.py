"""Everything in one process: all tasks, one uvicorn, one grpc.aio server, one event loop."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import uvloop

from services.core.catalog import Catalog
from services.core.errors import OperatorError
from services.core.inference import InferenceService
from services.core.settings import Settings
from services.core.task import Task
from services.core.telemetry import Meter
from services.edges.grpc import build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime.http_server import LAST_WORDS, make_server
from services.runtime.loading import load_models, make_service, read_world
from services.runtime.meters import PrometheusMeter
from services.runtime.tuning import tune_serving_process


class PortInUseError(OperatorError):
    """A port to listen on is taken; the message says which setting to change."""


def probe_ports(settings: Settings, lanes: Sequence[Task] = ()) -> None:
    """Fail early and clearly if a port is taken. No SO_REUSEPORT: with it two servers would share the port silently.

    Args:
        settings: host and ports.
        lanes: tasks that listen on a gRPC port of their own.

    Raises:
        PortInUseError: it is taken, or meant for two things.
        OperatorError: this machine has no such IPv4 address, or the port is past the last there is.
    """
    taken: set[int] = set()
    own = [(settings.lane_port(task.grpc_port), "--grpc-port") for task in lanes]
    for port, flag in [(settings.rest_port, "--rest-port"), (settings.grpc_port, "--grpc-port"), *own]:
        if not 0 < port < 65536:
            raise OperatorError(f"the gRPC lane of a task would be at port {port}; choose a lower {flag}")
        if port in taken:
            raise PortInUseError(f"port {port} is meant for two things; choose another with {flag}")
        taken.add(port)
        _probe(settings.host, port, flag)


def _probe(host: str, port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise OperatorError(f"cannot listen on {host}: {error.strerror}; check --host") from None
            raise PortInUseError(
                f"port {port} on {host} is in use; stop what listens there, or choose another with {flag}"
            ) from None


def run_local(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then drain and return."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, on_ready))


async def _run(settings: Settings, on_ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks, catalog = read_world(settings)
    meter = PrometheusMeter()
    service = make_service(catalog, load_models(tasks, catalog, settings, meter), settings, meter)
    tune_serving_process(service.lanes)
    async with serving(tasks, catalog, service, meter, settings):
        on_ready()
        await stop.wait()


@asynccontextmanager
async def serving(
    tasks: Sequence[Task], catalog: Catalog, service: InferenceService, meter: Meter, settings: Settings
) -> AsyncIterator[None]:
    """REST and gRPC are up within. On leaving, health turns NOT_SERVING, running calls finish, engines close."""
    grpc_server = build_grpc_server(tasks, service, meter, settings)
    rest_app = build_rest_app(tasks, service, catalog, meter, settings)
    rest_server = make_server(rest_app, settings, host=settings.host, port=settings.rest_port)
    await grpc_server.server.start()
    rest = asyncio.create_task(rest_server.serve())
    await rest_server.listening.wait()
    await grpc_server.set_serving(serving=True)
    try:
        yield
    finally:
        rest_server.should_exit = True
        too_late = asyncio.get_running_loop().call_later(settings.drain_seconds, service.abort)
        await asyncio.gather(rest, grpc_server.stop(settings.drain_seconds + LAST_WORDS))
        too_late.cancel()
        await asyncio.to_thread(service.close)
