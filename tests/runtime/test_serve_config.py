"""The Serve config file: Ray takes it, and what it names builds the applications `chorale serve` runs."""

import importlib

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from services.core.settings import Settings
from services.core.task import discover
from services.runtime.serve_config import serve_config


def config(**settings: object) -> ServeDeploySchema:
    found = serve_config(Settings(**settings), discover(opt_in=True))
    return ServeDeploySchema.model_validate(yaml.safe_load(yaml.safe_dump(found)))


def test_there_is_an_application_for_each_task_and_the_gateway() -> None:
    routes = {application.name: application.route_prefix for application in config().applications}
    tasks = ("asr", "classification", "echo", "llm", "translation")
    assert routes == {name: f"/{name}" for name in tasks} | {"gateway": "/"}


@pytest.mark.parametrize("name", ["echo", "gateway"])
def test_what_it_names_builds_with_the_settings_that_were_given(name: str) -> None:
    (application,) = [one for one in config(replicas=3, cpus=2).applications if one.name == name]
    module, _, function = application.import_path.partition(":")
    build = getattr(importlib.import_module(module), function)
    (parameter,) = build.__annotations__.keys() - {"return"}
    deployment = build(build.__annotations__[parameter](**application.args))._bound_deployment
    assert deployment.num_replicas == 3
    assert application.args["settings"]["cpus"] == 2
