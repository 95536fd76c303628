"""The Ray Serve config file of these tasks: what ``serve deploy`` and a KubeRay RayService take.

An application per task at ``/<task>`` and the gateway at ``/``, as `chorale serve` runs them on its local cluster.
Settings that were set travel as arguments; a cluster's own environment (``CHORALE_*``) says the rest.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from services.core.settings import Settings
from services.core.task import Task

GATEWAY = "gateway"


def serve_config(settings: Settings, tasks: Sequence[Task]) -> dict[str, Any]:
    """The config, ready for YAML."""
    given = settings.model_dump(mode="json", exclude_unset=True, exclude={"tasks"})
    given["tasks"] = [task.name for task in tasks]
    applications = [
        _application(task.name, f"/{task.name}", "task", {"task": task.name, "settings": given}) for task in tasks
    ]
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.host, "port": settings.rest_port},
        "applications": [*applications, _application(GATEWAY, "/", "gateway", {"settings": given})],
    }


def _application(name: str, prefix: str, builder: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": prefix,
        "import_path": f"services.runtime.ray_applications:{builder}",
        "args": deepcopy(arguments),  # so that YAML writes it out
    }
