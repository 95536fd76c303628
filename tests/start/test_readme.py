"""The README is true: its calls work as they stand and its tables match the code."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.core.settings import Settings
from services.edges.status import WIRE
from tests.runtime.process import Chorale

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
CURLS = [text for _, text in BLOCKS if text.startswith("curl ")]


def block(start: str) -> tuple[str, str]:
    """The block that begins so, and the one after it."""
    at = next(number for number, (_, text) in enumerate(BLOCKS) if text.startswith(start))
    return BLOCKS[at][1], BLOCKS[at + 1][1]


def here(text: str, server: Chorale) -> str:
    """The command with this test's ports."""
    return text.replace(":8000", f":{server.rest_port}").replace(":9000", f":{server.grpc_port}")


def near(value: Any) -> Any:
    """The same with room in the scores: onnxruntime's int8 kernels differ a little between CPUs."""
    if isinstance(value, dict):
        return {key: near(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [near(inner) for inner in value]
    return pytest.approx(value, abs=0.05) if isinstance(value, float) else value


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_curl_call_gives_the_answer_shown(server: Chorale) -> None:
    command, answer = block("curl ")
    done = subprocess.run(["bash", "-c", here(command, server)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == near(json.loads(answer))


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(CURLS)))
def test_every_curl_call_is_answered(server: Chorale, number: int) -> None:
    command = here(CURLS[number].replace("curl ", "curl --fail-with-body ", 1), server)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stdout


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_grpcurl_call_works(server: Chorale) -> None:
    """By grpcurl's own means, reflection and protobuf's JSON, since grpcurl itself may not be installed."""
    words = shlex.split(here(block("grpcurl ")[0], server))
    body, address, method = words[words.index("-d") + 1], words[-2], words[-1]
    service, _, verb = method.rpartition("/")
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        rpc = pool.FindServiceByName(service).FindMethodByName(verb)
        request, response = (message_factory.GetMessageClass(kind) for kind in (rpc.input_type, rpc.output_type))
        call = channel.unary_unary(f"/{method}", request.SerializeToString, response.FromString)
        answer = call(json_format.Parse(body, request()), timeout=10)
    assert answer.results[0].labels[0].label == "positive"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_python_call_works(server: Chorale) -> None:
    code = here(block("from services.clients")[0], server)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("positive", "negative")


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_classification_replica_imports_no_torch(server: Chorale) -> None:
    import psutil

    family = psutil.Process(server.process.pid).children(recursive=True)
    (replica,) = [p for p in family if "ServeReplica:classification" in " ".join(p.cmdline())]
    assert not any("libtorch" in mapped.path for mapped in replica.memory_maps())


def test_every_setting_is_documented_once() -> None:
    for name in Settings.model_fields:
        assert len(re.findall(rf"\| .*`CHORALE_{name.upper()}`", README)) == 1, name


def test_the_table_of_codes_is_the_code() -> None:
    for code, wire in WIRE.items():
        assert re.search(rf"\| {code}[^|]* \| {wire.http} \| {wire.grpc.name} \|", README), code


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[2] / target).exists(), target
