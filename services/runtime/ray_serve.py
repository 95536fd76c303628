"""Ray Serve: one application per task, whose replica is its own REST ingress, and a gateway application over all.

A request to ``/<task>/v1/…`` meets the replica that holds the model: no hop. The gateway at ``/`` has every task on
one REST and one gRPC port and makes one hop. Both are built by the same functions as in one process; only the
Backend differs. Serve's own batching, queueing and gRPC are not used: ours behave alike everywhere.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.core.catalog import read_catalog
from services.core.context import CallContext, Priority
from services.core.errors import Code, ServingError
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Method, Task, discover
from services.edges.endpoint import REQUEST_ID
from services.edges.grpc import build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime.loading import ensure_artefacts, load_models, make_service
from services.runtime.meters import make_meter
from services.runtime.ray_loopback import bind_replica_to_loopback

REPLICA = "Replica"

# Admission is the batcher's: Serve must neither queue nor refuse before it.
_UNLIMITED = {"max_ongoing_requests": 100_000, "max_queued_requests": -1}


class TaskReplica:
    """Serves one task: REST by itself, and calls of the gateway.

    Args:
        task: its name.
        settings: of the whole deployment.
    """

    async def __init__(self, task: str, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        bind_replica_to_loopback(settings)
        tasks = discover(settings.task_packages, (task,))
        self._task = tasks[0]
        self._methods = {method.verb: method for method in self._task.methods}
        catalog = read_catalog(settings.catalog, (task,))
        meter = make_meter(settings)
        await asyncio.to_thread(ensure_artefacts, settings, catalog.specs)
        loaded = await asyncio.to_thread(load_models, tasks, catalog, settings, meter)
        self._service = make_service(catalog, loaded, settings, meter)
        self._app = build_rest_app(tasks, self._service, catalog, meter, settings)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs as this replica's ingress."""
        return OneRequestId(self._app)

    async def infer(self, verb: str, request: bytes, identity: str, protocol: str, seconds: float, rank: int) -> bytes:
        """A call from the gateway: JSON in, JSON out. ``seconds`` are left of the caller's deadline."""
        method = self._methods[verb]
        deadline = asyncio.get_running_loop().time() + seconds
        context = CallContext(identity, protocol, deadline, Priority(rank))
        response = await self._service.infer(self._task, method, method.request.model_validate_json(request), context)
        return response.__pydantic_serializer__.to_json(response)

    async def ready(self) -> bool:
        """Whether the task can answer."""
        return all((await self._service.ready()).values())

    async def __del__(self) -> None:
        await asyncio.to_thread(self._service.close)


class HandleBackend:
    """The gateway's Backend: forwards each call to the task's application.

    Bodies cross as JSON bytes: pickled records cost Ray five times as much.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        handles = {task.name: serve.get_deployment_handle(REPLICA, task.name) for task in tasks}
        # A handle's methods are made anew at every look-up; kept, they cost nothing per call.
        self._infer = {name: handle.infer for name, handle in handles.items()}
        self._is_ready = {name: handle.ready for name, handle in handles.items()}

    async def infer(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        """The answer of a replica. A replica that died is UNAVAILABLE: worth a retry."""
        body = request.__pydantic_serializer__.to_json(request, exclude_unset=True)
        seconds = context.remaining()
        call = (method.verb, body, context.request_id, context.protocol, seconds, int(context.priority))
        try:
            async with asyncio.timeout(seconds):
                answer: bytes = await self._infer[task.name].remote(*call)
        except TimeoutError:
            raise ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the answer was ready.") from None
        except BackPressureError:
            raise ServingError(Code.OVERLOADED, "The queue is full; retry after the time given.", None, 1.0) from None
        except (RayActorError, RayServeException, grpc.aio.AioRpcError) as error:
            message = f"No replica of {task.name} could answer; retry after the time given."
            raise ServingError(Code.UNAVAILABLE, message, None, 1.0) from error
        return method.response.model_validate_json(answer)

    async def ready(self) -> Mapping[str, bool]:
        """Whether each task answers within two seconds."""
        found = await asyncio.gather(*(self._ready(task) for task in self._is_ready))
        return dict(zip(self._is_ready, found, strict=True))

    async def _ready(self, task: str) -> bool:
        try:
            async with asyncio.timeout(2):
                return bool(await self._is_ready[task].remote())
        except (TimeoutError, RayActorError, RayServeException, grpc.aio.AioRpcError):
            return False


class Gateway:
    """Every task on one REST and one gRPC port."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        bind_replica_to_loopback(settings)
        tasks = discover(settings.task_packages, settings.tasks)
        catalog = read_catalog(settings.catalog, [task.name for task in tasks])
        meter = make_meter(settings)
        self._backend = HandleBackend(tasks)
        self._app = build_rest_app(tasks, self._backend, catalog, meter, settings)
        self._grpc = build_grpc_server(tasks, self._backend, meter, settings)
        self._drain_seconds = settings.drain_seconds
        await self._grpc.server.start()
        self._watcher = asyncio.create_task(self._watch_health())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs as this replica's ingress."""
        return OneRequestId(self._app)

    async def __del__(self) -> None:
        self._watcher.cancel()
        await self._grpc.set_serving(serving=False)
        await self._grpc.server.stop(self._drain_seconds)

    async def _watch_health(self) -> None:
        """Keep grpc.health.v1 true."""
        while True:
            await self._grpc.set_serving(serving=all((await self._backend.ready()).values()))
            await asyncio.sleep(2)


class OneRequestId:
    """Drops our request id header from answers: Serve adds the same id itself, and two would be sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or the lifespan."""

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID]
            await send(message)

        await self._app(scope, receive, send_without_id)


def task_application(task: str, settings: Settings) -> serve.Application:
    """The Serve application of one task."""
    return _deployment(TaskReplica, REPLICA, settings, settings.replicas).bind(task, settings)


def gateway_application(settings: Settings) -> serve.Application:
    """The Serve application of the gateway."""
    return _deployment(Gateway, "Gateway", settings, 1).bind(settings)


def _deployment(replica: type, name: str, settings: Settings, replicas: int) -> Any:
    return serve.deployment(
        serve.ingress()(replica),
        name=name,
        num_replicas=replicas,
        # A token share: what a replica really uses is its lanes, and a laptop must hold all tasks.
        ray_actor_options={"num_cpus": 0.01},
        health_check_period_s=1,
        graceful_shutdown_timeout_s=settings.drain_seconds,
        graceful_shutdown_wait_loop_s=0.1,
        **_UNLIMITED,
    )
