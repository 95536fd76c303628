"""Calls as people paste them: with a file of theirs, and never with its bytes."""

import asyncio
import json
import subprocess
import sys
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.core.schema import bytes_field
from services.edges import snippets
from services.edges.announce import example_body
from services.tasks.asr import TASK, TRANSCRIBE
from tests.relay import RELAY, serve_relay
from tests.serving import Server

FILE = bytes(range(256)) * 1000
"""Longer than an argument of a process can be."""

BODY = {
    "data": "aGk=",
    "words": ["@/etc/hostname", "it's $HOME `x`;type=a", "100 %\\n"],
    "times": 2,
    "loud": True,
    "tone": "soft",
}

SCHEMA = RELAY.request.model_json_schema()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve_relay() as (running, _):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(FILE)
    return tmp_path


async def run(folder: Path, *command: str) -> str:
    paths = ":".join(path for path in sys.path if path)
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": paths},
        capture_output=True,
        check=True,
        timeout=30,
    )
    return done.stdout.decode()


async def test_curl_sends_the_file_and_all_else_as_it_is(server: Server, folder: Path) -> None:
    call = snippets.curl(str(server.rest.base_url).rstrip("/"), RELAY.route, BODY, SCHEMA)
    answer = json.loads(await run(folder, "bash", "-c", call))
    assert len(answer["parts"]) == BODY["times"]
    part = answer["parts"][0]
    assert (part["size"], part["sum"]) == (len(FILE), zlib.crc32(FILE))
    assert {name: part[name] for name in ("words", "loud", "tone")} == {
        name: BODY[name] for name in ("words", "loud", "tone")
    }


@pytest.mark.parametrize("body", [BODY, {"data": "aGk="}], ids=["all", "only the file"])
async def test_grpcurl_is_given_the_file_as_base64(folder: Path, body: dict[str, object]) -> None:
    call = snippets.grpcurl("h:9000", "/a.B/Do", body, SCHEMA)
    message, _, program = call.rpartition(" | ")
    sent = json.loads(await run(folder, "bash", "-c", message))
    assert b64decode(sent.pop("data")) == FILE
    assert sent == {name: value for name, value in body.items() if name != "data"}
    assert program == "grpcurl -plaintext -d @ h:9000 a.B/Do"


async def test_python_reads_the_file(server: Server, folder: Path) -> None:
    call = snippets.python(str(server.rest.base_url).rstrip("/"), RELAY.route, BODY, SCHEMA)
    assert f"'sum': {zlib.crc32(FILE)}" in await run(folder, sys.executable, "-c", call)


def test_bytes_are_never_in_them() -> None:
    body, schema = example_body(TASK.examples[0]), TRANSCRIBE.request.model_json_schema()
    calls = (
        snippets.curl("http://h", TRANSCRIBE.route, body, schema),
        snippets.grpcurl("h:9000", TASK.rpc(TRANSCRIBE), body, schema),
        snippets.python("http://h", TRANSCRIBE.route, body, schema),
    )
    assert calls[0] == "curl -s http://h/v1/transcribe -F audio=@recording.wav"
    for call in calls:
        assert "recording.wav" in call
        assert len(call) < 300


def test_a_request_without_a_file_is_json() -> None:
    assert bytes_field(RELAY.request) == "data"
    assert snippets.curl("http://h", "/v1/do", {"times": 2}, SCHEMA).endswith("-d '{\"times\": 2}'")
    assert "Path" not in snippets.python("http://h", "/v1/do", {"times": 2}, SCHEMA)
