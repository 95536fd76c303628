"""Builders that a Serve config file names (`serve_config`); Ray calls them with the arguments in it."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from services.core.settings import Settings
from services.runtime.ray_serve import gateway_application, task_application


class GatewayArguments(BaseModel):
    """Arguments of the gateway."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any] = {}


class TaskArguments(GatewayArguments):
    """Arguments of a task."""

    task: str


def task(arguments: TaskArguments) -> serve.Application:
    """One task's application."""
    return task_application(arguments.task, Settings(**arguments.settings), local=False)


def gateway(arguments: GatewayArguments) -> serve.Application:
    """The gateway's application."""
    return gateway_application(Settings(**arguments.settings), local=False)
