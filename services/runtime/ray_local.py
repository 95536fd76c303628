"""``chorale serve`` without ``--in-process``: a Ray cluster of its own on this machine, from start to drained end."""

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

from services.core.errors import OperatorError
from services.core.settings import Settings
from services.core.task import Task
from services.runtime.loading import ensure_artefacts, read_world
from services.runtime.ray_family import Family, adopt_orphans
from services.runtime.ray_loopback import start_slim_head, write_haproxy_wrapper
from services.runtime.ray_slim import CONTROLLER_HOOK, leave_out_agent
from services.runtime.serve_config import GATEWAY

_RUNS = "/tmp"  # noqa: S108  # not TMPDIR, which may be long: paths of sockets may not
_PREFIX = "chorale-"

START_TIMEOUT = 600.0
"""Seconds the applications get to become ready; large models load for minutes."""

_LOOK_EVERY = 1.0
"""Seconds between two looks whether Ray is still there."""

_QUIET = {"enable_access_log": False, "log_level": "WARNING"}


class StartError(OperatorError):
    """The cluster or an application did not come up; the message says what Ray said."""


class ClusterLostError(OperatorError):
    """Ray itself ended under us."""


def run_ray(
    settings: Settings, tasks: Sequence[Task], say: Callable[[str], None], on_ready: Callable[[], None]
) -> None:
    """Serve on a local Ray cluster until SIGINT or SIGTERM, then drain and return; SIGHUP replaces every replica.

    Raises:
        StartError: an application failed to start.
        ClusterLostError: a process of Ray's own was killed; what it served is gone.
    """
    stop, wake = Event(), Event()
    _sweep()
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_RUNS) as folder:
        os.environ.update(_environment(settings, tasks, Path(folder)))
        say("starting Ray")
        _start_cluster(settings, folder)
        family = Family()
        for number in (signal.SIGINT, signal.SIGTERM):  # only now: ray.init sets its own
            signal.signal(number, lambda *_: _set(stop, wake))
        signal.signal(signal.SIGHUP, lambda *_: wake.set())
        try:
            if _wait_until_ready(_deploy(settings, tasks), settings, say, stop):
                on_ready()
            while not stop.is_set():
                if wake.wait(_LOOK_EVERY):
                    wake.clear()
                    if not stop.is_set():
                        _reload(settings, say, stop)
                elif name := family.lost():
                    raise ClusterLostError(f"Ray's {name} was killed (out of memory?); start again")
        finally:
            if family.lost():
                family.end()
            else:
                say("draining")
                _drain()
            _end_cluster()
            family.end()


def _set(*events: Event) -> None:
    for event in events:
        event.set()


def _reload(settings: Settings, say: Callable[[str], None], stop: Event) -> None:
    """A rolling update: read the catalog anew, start replicas, and only then drain the old ones. No call is lost."""
    say("reloading")
    try:
        tasks, catalog = read_world(settings)
        ensure_artefacts(settings, catalog.specs)
        if _wait_until_ready(_deploy(settings, tasks), settings, say, stop):
            say("reloaded")
    except OperatorError as error:  # what runs goes on
        say(f"not reloaded: {error}")


def _environment(settings: Settings, tasks: Sequence[Task], folder: Path) -> dict[str, str]:
    """What Ray reads from the environment, in this process and all it starts; set before Ray is imported."""
    once = [method.route for task in tasks for method in task.methods if not method.idempotent]
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(write_haproxy_wrapper(folder, once)),
        # A request whose replica died before it answered goes to another one. HAProxy must still hold it for that, so
        # it holds for bodies up to its buffer; the client, or the gateway, sends longer ones again.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "6",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        # A look each 0.25 s, not 0.1: what Ray does for itself is taken from serving. Checks are closer to make up.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
        "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": CONTROLLER_HOOK,
        "RAY_memory_monitor_refresh_ms": "2000",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1.0",
        # Ray stays on loopback, whatever we serve on; its token would outlive this cluster in the home folder.
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_enable_metrics_collection": "1" if settings.ray_metrics else "0",
    }


def _sweep() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(_RUNS).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _start_cluster(settings: Settings, folder: str) -> None:
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    start_slim_head()
    if not settings.ray_metrics:
        leave_out_agent()
    ray.init(
        address="local",
        namespace="serve",
        num_cpus=settings.cpus,
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=f"{folder}/ray",  # gone with the run; Ray's default would stay
    )
    http = HTTPOptions(host=settings.host, port=settings.rest_port)
    serve.start(http_options=http, logging_config=_QUIET)


def _deploy(settings: Settings, tasks: Sequence[Task]) -> list[str]:
    """Submit all applications; their names."""
    from ray.serve.api import RunTarget, run_many

    from services.runtime.ray_serve import gateway_application, task_application

    # The logging config goes to each application: given to serve.start it does not reach replicas.
    targets = [
        RunTarget(task_application(task.name, settings, local=True), task.name, f"/{task.name}", logging_config=_QUIET)
        for task in tasks
    ]
    targets.append(RunTarget(gateway_application(settings, local=True), GATEWAY, "/", logging_config=_QUIET))
    run_many(targets, wait_for_applications_running=False)
    return [target.name for target in targets]


def _wait_until_ready(names: Sequence[str], settings: Settings, say: Callable[[str], None], stop: Event) -> bool:
    """Wait until every application answers through the front door, telling of each; False if told to stop before.

    Raises:
        StartError: one failed, or time is up.
    """
    from ray import serve

    started, waiting = time.monotonic(), list(names)
    while waiting and not stop.wait(0.05):
        seconds = time.monotonic() - started
        for name, application in serve.status().applications.items():
            if application.status == "DEPLOY_FAILED":
                raise StartError(f"{name} failed to start: {application.message}")
            # Running is not yet reachable: the front door learns of routes a moment later.
            if name in waiting and application.status == "RUNNING" and _answers(name, settings):
                waiting.remove(name)
                say(f"{name} is ready after {seconds:.1f} s")
        if seconds > START_TIMEOUT:
            raise StartError(f"{', '.join(waiting)} not ready after {START_TIMEOUT:.0f} s")
    return not waiting


def _answers(name: str, settings: Settings) -> bool:
    prefix = "" if name == GATEWAY else f"/{name}"
    connection = HTTPConnection(settings.host, settings.rest_port, timeout=3)
    try:
        connection.request("GET", f"{prefix}/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _drain() -> None:
    """Stop taking requests, finish those under way, end the cluster: the gateway first, since it needs the tasks.

    ``serve.shutdown`` would end HAProxy first, and with it every request under way. Once the applications are gone
    there is nothing left to shut down gently.
    """
    from ray import serve
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client:
        names = list(serve.status().applications)
        client.delete_apps([name for name in names if name == GATEWAY], blocking=True)
        client.delete_apps([name for name in names if name != GATEWAY], blocking=True)


def _end_cluster() -> None:
    import ray

    ray.shutdown()
