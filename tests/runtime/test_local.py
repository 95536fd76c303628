"""``chorale serve --in-process`` as a process: ready, answers, drains, exits 0; and what it refuses to start with."""

import json
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.core.settings import Settings
from services.core.task import discover
from services.runtime.local import PortInUseError, probe_ports
from tests.runtime.process import Chorale, chorale
from tests.serving import free_port


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    argv = [sys.executable, "-m", "services.runtime.cli", *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=60
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_serves_drains_and_exits_with_0(number: int) -> None:
    with chorale("--in-process", "--tasks", "echo") as server:
        answer = httpx.post(f"{server.url}/v1/echo", json={"text": "hi"}).json()
        assert answer["results"] == [{"text": "hi"}]
        assert server.stop(number) == 0
        assert "Traceback" not in server.output


def test_the_curl_line_it_prints_works_when_pasted() -> None:
    with chorale("--in-process", "--tasks", "echo") as server:
        line = next(line for line in server.lines if line.startswith("curl "))
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        assert json.loads(answer)["results"][0]["text"]


def test_a_port_in_use_is_told_with_the_flag_to_change_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--rest-port", "--grpc-port"):
            other = "--grpc-port" if flag == "--rest-port" else "--rest-port"
            ended = command("serve", "--in-process", "--tasks", "echo", flag, str(port), other, str(free_port()))
            assert ended.returncode == 1
            assert f"port {port}" in ended.stderr
            assert flag in ended.stderr
            assert "Traceback" not in ended.stderr


def test_a_port_shared_by_so_reuseport_is_still_in_use() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUseError):
            probe_ports(Settings(rest_port=taken.getsockname()[1], grpc_port=free_port()))


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--tasks", "nonsense"], {}, "unknown task nonsense"),
        ([], {"CHORALE_REST_PORT": "0"}, "rest_port"),
        ([], {"CHORALE_TLS_KEY": __file__}, "CHORALE_TLS_CERTIFICATE"),
        ([], {"CHORALE_LOG_LEVEL": "loud"}, "log_level"),
        ([], {"CHORALE_HOME": "/dev/null"}, "CHORALE_HOME /dev/null cannot be used"),
        ([], {"CHORALE_TASK_PACKAGES": "nosuch"}, "No module named 'nosuch'"),
        ([], {"CHORALE_CATALOG": "tests"}, "no models for asr, classification"),
        (["--host", "203.0.113.7"], {}, "cannot listen on 203.0.113.7"),
    ],
)
def test_wrong_settings_are_one_sentence(arguments: list[str], environment: dict[str, str], message: str) -> None:
    ended = command("serve", "--in-process", *arguments, **environment)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_fake_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(
        "models: [{name: pretend, description: none, default: true, engine: fake, licence: none}]"
    )
    ended = command("serve", "--in-process", "--tasks", "echo", CHORALE_CATALOG=str(tmp_path))
    assert ended.returncode == 1
    assert "is for tests" in ended.stderr


def test_a_running_request_is_answered_before_the_server_ends() -> None:
    with chorale("--in-process", "--tasks", "echo") as server:
        answers: list[Any] = []
        texts = ["x" * 4000] * 1000
        caller = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{server.url}/v1/echo", json={"text": texts}, timeout=30))
        )
        caller.start()
        while 'chorale_inflight{protocol="rest",task="echo"} 1' not in httpx.get(f"{server.url}/metrics").text:
            if answers:
                break
        assert server.stop() == 0
        caller.join()
        assert answers[0].status_code == 200
        assert len(answers[0].json()["results"]) == 1000


def test_pasted_lines_quote_what_a_shell_would_eat() -> None:
    from services.core.schema import TextRequest
    from services.core.task import Method
    from services.runtime.greeting import curl

    example = TextRequest(text=("it's $HOME `x`",))
    line = curl(Method("Echo", TextRequest, object, "a:b"), example, Settings())  # type: ignore[arg-type]
    assert json.loads(shlex.split(line)[-1]) == {"text": "it's $HOME `x`"}


@pytest.mark.parametrize(
    ("tasks", "route"),
    [(("asr", "classification"), "/v1/classify "), (("asr",), "/v1/transcribe -F audio=@recording.wav")],
)
def test_what_can_be_pasted_as_it_is_comes_first(tasks: tuple[str, ...], route: str) -> None:
    from services.runtime.greeting import curl, first_example

    _, method, example = first_example(discover(only=tasks))
    assert route in curl(method, example, Settings())


def test_chorale_process_reports_what_it_printed_when_it_dies() -> None:
    server = Chorale("--in-process", "--tasks", "nonsense")
    with pytest.raises(AssertionError, match="unknown task"):
        server.wait_ready(30)


def test_an_open_health_watch_does_not_hold_the_shutdown_up() -> None:
    with (
        chorale("--in-process", "--tasks", "echo", CHORALE_DRAIN_SECONDS="30") as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server.stop(timeout=15) == 0


@pytest.mark.parametrize("field", ["engine: nosuch", "engine: onnx, architecture: nosuch"])
def test_a_catalog_with_unknown_names_is_one_sentence(tmp_path: Path, field: str) -> None:
    (tmp_path / "echo.yaml").write_text(f"models: [{{name: m, description: d, default: true, {field}, licence: none}}]")
    ended = command("serve", "--in-process", "--tasks", "echo", CHORALE_CATALOG=str(tmp_path))
    assert ended.returncode == 1
    assert "'nosuch' is not known; known: " in ended.stderr
    assert "Traceback" not in ended.stderr
