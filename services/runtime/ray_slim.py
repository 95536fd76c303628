"""A local Ray cluster without what nobody uses on it: half the CPU it burns when idle, and 250 MB.

On two cores what Ray does for itself is taken from serving: 0.11 of a core as it comes, 0.05 so. Left out are the
dashboard's agent (unless Ray is to export metrics), Serve's Python proxy behind HAProxy, which we do not route to, and
nine of ten looks at which nodes there are: there is one. Used only for the cluster ``chorale serve`` starts itself.
The names changed here are private ones of Ray 2.60; should they move, Ray merely runs as it comes.
"""

import time
from typing import Any

CONTROLLER_HOOK = f"{__name__}:calm_controller"
"""For ``RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH``: Serve calls it as its controller starts."""

_NODES_EVERY = 5.0
"""Seconds between two looks at the cluster's nodes."""

_MISSED_CHECKS = 2
"""Health checks HAProxy's manager may miss before HAProxy is started anew; Serve's three would take a second longer."""


def leave_out_agent() -> None:
    """Before ``ray.init``: start no dashboard agent, which only reports."""
    from ray._private import services
    from ray._raylet import persist_port  # type: ignore[attr-defined]  # compiled, and its stub lacks it

    start = services.start_ray_process

    def start_ray_process(command: list[str], process_type: str, *args: Any, **kwargs: Any) -> Any:
        if process_type == "raylet":
            flags = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
            for name in ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"):
                persist_port(flags["--session_dir"], flags["--node_id"], name, -1)  # the raylet waits for them
            command = [_without_agent(part) for part in command]
        return start(command, process_type, *args, **kwargs)

    services.start_ray_process = start_ray_process


def _without_agent(part: str) -> str:
    # The raylet wants an agent that lives as long as it does: cat reads its pipe to the end. sh swallows the
    # arguments the raylet adds, and ignores the Ctrl-C that a terminal sends to all: the raylet would die with it.
    command = """/bin/sh -c "trap '' INT; exec cat\""""
    return f"--dashboard_agent_command={command}" if part.startswith("--dashboard_agent_command=") else part


def calm_controller() -> None:
    """In Serve's controller, before it begins."""
    from ray.serve._private import proxy_state
    from ray.serve._private.cluster_node_info_cache import ClusterNodeInfoCache

    proxy_state.ProxyStateManager._start_fallback_proxy_if_needed = lambda *_: None
    proxy_state.PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD = _MISSED_CHECKS
    fetch, due = ClusterNodeInfoCache.update, 0.0

    def update(cache: Any) -> None:
        nonlocal due
        if time.monotonic() >= due:
            fetch(cache)
            due = time.monotonic() + _NODES_EVERY

    ClusterNodeInfoCache.update = update
