"""A task is its folder, its proto and its catalog entry: with those three, and nothing else, everything has it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.runtime.process import Chorale, chorale

ROOT = Path(__file__).parents[2]

FILES = {
    "services/tasks/shout/__init__.py": '''
"""Shout: what was said, louder."""

from services.core.task import Method, Task
from services.tasks.shout.schema import ShoutRequest, ShoutResponse

SHOUT = Method("Shout", ShoutRequest, ShoutResponse, pipeline="services.tasks.shout.pipeline:ShoutPipeline")

TASK = Task("shout", (SHOUT,), examples=(ShoutRequest(text=("good morning",)),), grpc_port=9077)
''',
    "services/tasks/shout/schema.py": '''
from pydantic import Field

from services.core.schema import Record, Response, TextRequest


class ShoutRequest(TextRequest):
    """Texts to shout."""

    pauses: tuple[int, ...] = Field(default=(), description="Seconds between words.")


class Shout(Record):
    shout: str


class ShoutResponse(Response):
    """One result per text."""

    results: tuple[Shout, ...]
''',
    "services/tasks/shout/pipeline.py": """
from services.core.queueing import Item
from services.tasks.shout.schema import Shout, ShoutResponse


class ShoutPipeline:
    def __init__(self, model, engine):
        self.model, self.engine = model, engine

    @classmethod
    def load(cls, spec, artefact, engine):
        return cls(spec.id, engine)

    def prepare(self, request):
        return [Item(text, len(text)) for text in request.text]

    def run(self, payloads):
        return self.engine.run(payloads)

    def finish(self, request, items, outputs):
        return ShoutResponse(model=self.model, results=tuple(Shout(shout=text.upper()) for text in outputs))

    def close(self):
        self.engine.close()
""",
    "proto/chorale/shout/v1/shout.proto": """
syntax = "proto3";

package chorale.shout.v1;

import "chorale/common/v1/common.proto";

// Shouts.
service ShoutService {
  // Shouts texts.
  rpc Shout(ShoutRequest) returns (ShoutResponse);
}

// Texts to shout.
message ShoutRequest {
  // Texts.
  repeated string text = 1;
  // Model.
  string model = 2;
  // Seconds.
  repeated int32 pauses = 4;
}

// What was shouted.
message Shout {
  // Louder.
  string shout = 1;
}

// The answer.
message ShoutResponse {
  // Model.
  string model = 1;
  // Results.
  repeated Shout results = 2;
  // Cost.
  chorale.common.v1.Usage usage = 3;
}
""",
    "models/catalog/shout.yaml": """
models:
  - {name: shout, description: Louder., default: true, engine: echo, licence: Apache-2.0}
""",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the three additions."""
    tree = tmp_path_factory.mktemp("project")
    skipped = shutil.ignore_patterns("__pycache__", "results", "weights", "recipes")
    for folder in ("services", "proto", "models", "gradio_demos", "loadtests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=skipped)
    for name, content in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content.lstrip())
    subprocess.run([sys.executable, "proto/generate.py"], cwd=tree, check=True, timeout=60)
    return tree


def python(tree: Path, *arguments: str, check: bool = True) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def served(tree: Path) -> Iterator[Chorale]:
    with chorale("--in-process", "--tasks", "shout", timeout=60, folder=tree) as running:
        yield running


def test_rest_openapi_and_metrics(served: Chorale) -> None:
    answer = httpx.post(f"{served.url}/v1/shout", json={"text": "hello", "pauses": [1, 2]}).json()
    assert answer["results"] == [{"shout": "HELLO"}]
    assert "/v1/shout" in httpx.get(f"{served.url}/openapi.json").json()["paths"]
    assert 'task="shout"' in httpx.get(f"{served.url}/metrics").text


def test_grpc_through_the_typed_client(tree: Path, served: Chorale) -> None:
    script = f"""
from services.clients import GrpcClient
from services.tasks.shout import SHOUT, TASK
with GrpcClient("127.0.0.1:{served.grpc_port}") as client:
    print(client.call(SHOUT, TASK.examples[0]).results[0].shout)
"""
    assert python(tree, "-c", script) == "GOOD MORNING\n"


def test_the_demo_has_its_tab(tree: Path, served: Chorale) -> None:
    script = f"""
import json
from gradio_demos.site import build_site, read_server
url = "{served.url}"
config = build_site(*read_server(url), url, "127.0.0.1:1").get_config_file()
print(json.dumps([component["props"].get("label") for component in config["components"]]))
"""
    labels = json.loads(python(tree, "-c", script).splitlines()[-1])
    assert {"Shout", "text", "pauses (JSON)"} <= set(labels)


def test_load_tests_have_its_users(tree: Path, served: Chorale) -> None:
    addresses = ["--url", served.url, "--grpc", f"127.0.0.1:{served.grpc_port}"]
    output = python(tree, "-m", "loadtests.load", "smoke", *addresses, "--out", "out")
    assert len([line for line in output.splitlines() if line.startswith("shout/Shout")]) == 2


def test_the_serve_config_has_its_application(tree: Path) -> None:
    config = yaml.safe_load(python(tree, "-m", "services.runtime.cli", "config", "--tasks", "shout"))
    applications = {application["name"]: application for application in config["applications"]}
    assert set(applications) == {"shout", "gateway"}
    assert applications["shout"]["route_prefix"] == "/shout"


def test_the_whole_project_gains_no_line(tree: Path) -> None:
    """What differs from the project is the three additions and what is generated from the proto."""
    new = {path.relative_to(tree) for path in tree.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts}
    known = {
        path.relative_to(ROOT)
        for folder in ("services", "proto", "models", "gradio_demos", "loadtests")
        for path in (ROOT / folder).rglob("*.*")
    }
    added = {str(path) for path in new - known if path.parts[0] != "out"}
    assert {name for name in added if not name.startswith("services/pb/")} == set(FILES)
