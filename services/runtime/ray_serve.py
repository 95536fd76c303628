"""Ray Serve: one application per task, whose replica is its own REST ingress, and a gateway application over all.

A request to ``/<task>/v1/…`` or to the task's gRPC port meets the replica that holds the model: no hop. The gateway at
``/`` has every task on one REST and one gRPC port and makes one hop. Both are built by the same functions as in one
process; only the Backend differs. Serve's own batching, queueing and gRPC are not used: ours behave alike everywhere.
"""

import asyncio
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from starlette.types import ASGIApp

from services.core.catalog import read_catalog
from services.core.settings import Settings
from services.core.task import discover
from services.edges.grpc import Port, build_grpc_server
from services.edges.rest import build_rest_app
from services.runtime import autoscaling
from services.runtime.lane_backend import LaneBackend
from services.runtime.loading import ensure_artefacts, load_models, make_service
from services.runtime.meters import make_meter
from services.runtime.ray_ingress import serve_directly
from services.runtime.ray_loopback import bind_replica_to_loopback
from services.runtime.tuning import tune_serving_process

# Admission is the batcher's: Serve must neither queue nor refuse before it.
_UNLIMITED = {"max_ongoing_requests": 100_000, "max_queued_requests": -1}


class TaskReplica:
    """Serves one task: REST through Serve's ingress, and gRPC on a port that all replicas of a node share.

    Args:
        task: its name.
        settings: of the whole deployment.
        local: part of a cluster that must not be reached from the network (`ray_loopback`).
    """

    async def __init__(self, task: str, settings: Settings, *, local: bool) -> None:  # type: ignore[misc]  # awaited
        if local:
            bind_replica_to_loopback()
        tasks = discover(settings.task_packages, (task,))
        catalog = read_catalog(settings.catalog, (task,))
        meter = make_meter(settings)
        await asyncio.to_thread(ensure_artefacts, settings, catalog.specs)
        loaded = await asyncio.to_thread(load_models, tasks, catalog, settings, meter)
        self._service = make_service(catalog, loaded, settings, meter)
        tune_serving_process(self._service.lanes)
        self._app = build_rest_app(tasks, self._service, catalog, meter, settings)
        serve_directly(self._app, f"/{task}", settings)
        port = Port(settings.lane_port(tasks[0].grpc_port), shared=True)
        self._grpc = build_grpc_server(tasks, self._service, meter, settings, port)
        self._drain_seconds = settings.drain_seconds
        await self._grpc.server.start()
        await self._grpc.set_serving(serving=True)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs as this replica's ingress."""
        return self._app

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `autoscaling.policy` decides by; Serve asks while autoscaling is on."""
        return {autoscaling.WORK: self._service.work_seconds}

    async def __del__(self) -> None:
        await self._grpc.stop(self._drain_seconds)
        await asyncio.to_thread(self._service.close)


class Gateway:
    """Every task on one REST and one gRPC port, which the gateways of a node share."""

    async def __init__(self, settings: Settings, *, local: bool) -> None:  # type: ignore[misc]  # Serve awaits it
        if local:
            bind_replica_to_loopback()
        tasks = discover(settings.task_packages, settings.tasks)
        catalog = read_catalog(settings.catalog, [task.name for task in tasks])
        meter = make_meter(settings)
        self._backend = LaneBackend(tasks, settings)
        self._app = build_rest_app(tasks, self._backend, catalog, meter, settings)
        serve_directly(self._app, "", settings)
        port = Port(settings.grpc_port, shared=True)
        self._grpc = build_grpc_server(tasks, self._backend, meter, settings, port)
        self._drain_seconds = settings.drain_seconds
        await self._grpc.server.start()
        self._watcher = asyncio.create_task(
            self._backend.watch(lambda serving: self._grpc.set_serving(serving=serving))
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs as this replica's ingress."""
        return self._app

    async def __del__(self) -> None:
        self._watcher.cancel()
        await self._grpc.stop(self._drain_seconds)
        await self._backend.close()


def task_application(task: str, settings: Settings, *, local: bool) -> serve.Application:
    """The Serve application of one task."""
    return _deployment(TaskReplica, "Replica", settings, **_replicas(settings)).bind(task, settings, local=local)


def gateway_application(settings: Settings, *, local: bool) -> serve.Application:
    """The Serve application of the gateway."""
    return _deployment(Gateway, "Gateway", settings, num_replicas=settings.replicas).bind(settings, local=local)


def _replicas(settings: Settings) -> dict[str, Any]:
    if settings.max_replicas is None:
        return {"num_replicas": settings.replicas}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.replicas,
            max_replicas=settings.max_replicas,
            upscale_delay_s=5,
            downscale_delay_s=60,
            look_back_period_s=5,
            metrics_interval_s=1,
            policy=AutoscalingPolicy(policy_function=autoscaling.policy),
        )
    }


def _deployment(replica: type, name: str, settings: Settings, **replicas: Any) -> Any:
    return serve.deployment(
        serve.ingress()(replica),
        name=name,
        # A token share: what a replica really uses is its lanes, and a laptop must hold all tasks.
        ray_actor_options={"num_cpus": 0.01},
        health_check_period_s=1,
        graceful_shutdown_timeout_s=settings.drain_seconds,
        graceful_shutdown_wait_loop_s=0.1,
        max_surge_percent=100,  # of a rolling update: the new replica is there before the old one goes
        **replicas,
        **_UNLIMITED,
    )
