"""Load tests: profiles and their errors, users against a real server, broken promises."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtests.load.profile import PROFILES, Profile, entries, find_profile, read_profile
from loadtests.load.result import LoadResult, Second, Seen
from loadtests.load.slo import missed
from loadtests.load.timeline import Timeline
from services.core.errors import OperatorError
from tests.serving import Server, free_port, serve
from tests.tasks.asr.recognizing import SPEECH
from tests.tasks.asr.serving import serve_asr

PROFILE = """\
description: A test.
seconds: 2
warmup: 0.5
users: 4
rate: 40
mix:
  - {task: "*", protocol: rest}
  - task: echo
    protocol: grpc
slo: {p99_ms: 5000, error_rate: 0}
"""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serve(tmp_path_factory.mktemp("artefact")) as running:
        yield running


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    file = tmp_path / "profile.yaml"
    file.write_text(PROFILE)
    return file


@pytest.mark.parametrize("file", sorted(PROFILES.glob("*.yaml")), ids=lambda file: file.stem)
def test_bundled_profiles_are_sound_and_name_no_task(file: Path) -> None:
    profile = read_profile(file)
    assert find_profile(file.stem) == file
    assert {task for task, _ in entries(profile, ["a", "b"], file)} == {"a", "b"}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("users: 4", "users: [4", 5, "not YAML"),
        ("users: 4", "users: many", 4, "users: input should be a valid integer"),
        ("users: 4", "users: 0", 4, "users: input should be greater than or equal to 1"),
        ("users: 4\n", "", 1, "users: is missing"),
        ("rate: 40", "speed: 40", 5, "speed: no such field; allowed: description, seconds, warmup, users, rate"),
        ("protocol: grpc", "protocol: soap", 9, "mix.1.protocol: input should be 'rest' or 'grpc'"),
        ("p99_ms", "p999_ms", 10, "slo.p999_ms: no such field; allowed: p50_ms, p95_ms, p99_ms, error_rate, rate"),
        ("    protocol: grpc\n", "", 8, "mix.1.protocol: is missing"),
        (PROFILE, "", 1, "the file: give these fields: description, seconds"),
        (PROFILE, "- 1", 1, "the file: give these fields: description, seconds"),
        ("rate: 40", "rate: 40\nusers: 5", 6, "users is there twice"),
        ("seconds: 2", "secs: 2", 2, "secs: no such field; allowed: description, seconds"),
        ("warmup: 0.5", "warmup: .inf", 3, "warmup: input should be"),
    ],
)
def test_a_broken_profile_is_told_with_file_line_and_what_is_allowed(
    profile: Path, old: str, new: str, line: int, said: str
) -> None:
    profile.write_text(PROFILE.replace(old, new))
    with pytest.raises(OperatorError) as caught:
        read_profile(profile)
    assert str(caught.value).startswith(f"{profile}:{line}: ")
    assert said in str(caught.value)


def test_an_unknown_task_is_told_with_its_line_and_the_known_ones(profile: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        entries(read_profile(profile), ["classification"], profile)
    assert str(caught.value) == (f"{profile}:8: no task 'echo' at this server; it has: classification, or '*' for each")


def test_the_same_calls_twice_are_refused(profile: Path) -> None:
    profile.write_text(PROFILE.replace('"*", protocol: rest', "echo, protocol: grpc"))
    with pytest.raises(OperatorError, match=r":8: echo over grpc is in the mix twice"):
        entries(read_profile(profile), ["echo"], profile)


def test_what_is_optional_may_not_be_there_and_live_calls_are_others(profile: Path) -> None:
    more = "  - {task: dreams, protocol: rest, optional: true}\n  - {task: echo, protocol: grpc, live: true}\nslo:"
    profile.write_text(PROFILE.replace("slo:", more))
    found = entries(read_profile(profile), ["classification", "echo"], profile)
    assert [(task, entry.calls) for task, entry in found] == [
        ("classification", "rest"),
        ("echo", "grpc"),
        ("echo", "grpc live"),
    ]


@pytest.mark.parametrize("value", ["2024-13-45", "!!int abc", "!!bool abc", "!!timestamp abc", "[" * 3000])
def test_values_that_yaml_cannot_read_are_told(profile: Path, value: str) -> None:
    profile.write_text(PROFILE.replace("A test.", value))
    with pytest.raises(OperatorError):
        read_profile(profile)


def test_a_missing_profile_is_told_with_those_there_are() -> None:
    with pytest.raises(OperatorError, match="laptop"):
        read_profile(find_profile("nothing"))


def test_each_broken_promise_has_its_line() -> None:
    profile = Profile.model_validate(
        {
            "description": "",
            "seconds": 1,
            "users": 1,
            "mix": [
                {"task": "a", "protocol": "rest", "slo": {"p50_ms": 5, "error_rate": None}},
                {"task": "b", "protocol": "rest"},
            ],
            "slo": {"p99_ms": 10, "rate": 100, "error_rate": 0.01},
        }
    )
    kept = Seen("Aggregated", "all", 100, 1, 100.0, 4, 8, 10)
    part, other = Seen("a/Do", "rest", 100, 1, 100.0, 5, 8, 10), Seen("b/Do", "rest", 100, 1, 100.0, 5, 8, 10)
    mix = list(zip("ab", profile.mix, strict=True))
    assert missed(profile, mix, LoadResult(kept, (part, other), ())) == []
    bad = Seen("Aggregated", "all", 100, 2, 99.0, 4, 8, 11)
    slow = Seen("a/Do", "rest", 100, 100, 100.0, 6, 8, 10)
    assert missed(profile, mix, LoadResult(bad, (slow, other), ())) == [
        "all calls: p99 11 ms, promised 10",
        "all calls: 2.00% errors, promised 1.00%",
        "all calls: 99.0 good calls/s, promised 100.0",
        "rest a/Do: p50 6 ms, promised 5",
    ]
    nothing = Seen("Aggregated", "all", 0, 0, 0, 0, 0, 0)
    lines = ["all calls: no call ended", "rest a: no call ended", "rest b: no call ended"]
    assert missed(profile, mix, LoadResult(nothing, (), ())) == lines


def test_of_live_calls_only_what_people_wait_for_is_promised() -> None:
    entry = {"task": "a", "protocol": "rest", "live": True, "slo": {"p99_ms": 500}}
    profile = Profile.model_validate({"description": "", "seconds": 1, "users": 1, "mix": [entry]})
    names = {"a/Talk": 5000, "a/Talk first": 400, "a/Talk final": 600}
    parts = tuple(Seen(name, "rest live", 10, 0, 1, ms, ms, ms) for name, ms in names.items())
    result = LoadResult(Seen("all", "both", 0, 0, 0, 0, 0, 0), parts, ())
    assert missed(profile, [("a", profile.mix[0])], result) == ["rest live a/Talk final: p99 600 ms, promised 500"]


def test_calls_are_summed_up_by_kind_and_by_second_the_empty_ones_too() -> None:
    clock = [100.0]
    timeline = Timeline(now=lambda: clock[0])
    for at, milliseconds, failed in [(100.1, 10, False), (100.9, 30, False), (102.5, 7, False), (103.2, 99, True)]:
        clock[0] = at
        timeline.add("rest", "a/Do", milliseconds, ValueError() if failed else None, context={})
    clock[0] = 110.0  # calls that end after the test are counted, seconds after it are not
    found = timeline.result(4.0)
    assert found.seconds == (
        Second(1, 2, 0, 20, 29),
        Second(2, 0, 0, 0, 0),
        Second(3, 1, 0, 7, 7),
        Second(4, 0, 1, 0, 0),
    )
    assert found.total == Seen("all", "both", 4, 1, 0.75, 10.0, 28.0, 29.6)
    assert [(part.name, part.protocol) for part in found.parts] == [("a/Do", "rest")]


def load(server: Server, profile: Path, out: Path, *, url: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests.load", str(profile), "--out", str(out)]
    command += ["--url", url or f"http://127.0.0.1:{server.settings.rest_port}"]
    command += ["--grpc", f"127.0.0.1:{server.settings.grpc_port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def run_load(
    server: Server, profile: Path, out: Path, url: str | None = None, content: str = PROFILE
) -> tuple[int, str]:
    await asyncio.to_thread(profile.write_text, content)
    done = await asyncio.to_thread(load, server, profile, out, url=url)
    return done.returncode, done.stdout + done.stderr


async def test_a_kept_profile_ends_well_and_leaves_its_report(server: Server, profile: Path, tmp_path: Path) -> None:
    code, output = await run_load(server, profile, tmp_path / "out")
    assert code == 0, output
    assert "classification/Classify" in output
    assert "echo/Echo" in output
    found = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"load.json", "load.png", "locust.html", "locust_stats.csv", "locust_stats_history.csv"} <= found


async def test_a_broken_promise_is_one_line_and_a_failure(server: Server, profile: Path, tmp_path: Path) -> None:
    strict = PROFILE.replace("p99_ms: 5000", "p99_ms: 0.001")
    code, output = await run_load(server, profile, tmp_path, content=strict)
    assert code == 1
    assert [line for line in output.splitlines() if line.startswith("missed: all calls: p99 ")]


async def test_errors_count_against_the_promise(tmp_path: Path, profile: Path) -> None:
    impatient = PROFILE.replace("rate: 40", "rate: 40\ntimeout: 0.0001")
    async with serve(tmp_path) as server:
        code, output = await run_load(server, profile, tmp_path / "out", content=impatient)
    assert code == 1
    assert "% errors, promised 0.00%" in output


async def test_calls_that_hang_are_errors(server: Server, profile: Path, tmp_path: Path) -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    short = PROFILE.replace("rate: 40", "rate: 40\ntimeout: 1").replace("warmup: 0.5", "warmup: 0")
    await asyncio.to_thread(profile.write_text, short)
    command = [sys.executable, "-m", "loadtests.load", str(profile), "--out", str(tmp_path / "out")]
    command += ["--url", f"http://127.0.0.1:{server.settings.rest_port}", "--grpc", f"127.0.0.1:{port}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    silent.close()
    assert done.returncode == 1, done.stdout
    assert "errors, promised 0.00%" in done.stdout


async def test_without_a_server_it_says_so(server: Server, profile: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, output = await run_load(server, profile, tmp_path, url)
    assert (code, "Traceback" in output) == (2, False)
    assert f"No server answers at {url}" in output


async def test_an_unknown_task_stops_it(server: Server, profile: Path, tmp_path: Path) -> None:
    code, output = await run_load(server, profile, tmp_path, content=PROFILE.replace("task: echo", "task: dreams"))
    assert (code, "no task 'dreams'" in output) == (2, True)


STREAMS = """
from gevent import monkey; monkey.patch_all()
import gevent, time
from locust.env import Environment
from loadtests.load.users import StreamUser
from services.tasks.echo import ECHO, TASK

class Stream(StreamUser):
    protocol = "stream"
    task_record, method = TASK, ECHO
    def open(self, request):
        for _ in range(3):
            yield b"a"
            gevent.sleep(0.05)

environment = Environment(user_classes=[Stream])
environment.create_local_runner().start(1, spawn_rate=1)
gevent.sleep(1)
environment.runner.quit()
first, whole = (environment.stats.get(name, "stream") for name in ("echo/Echo first", "echo/Echo"))
print(whole.num_requests, first.median_response_time, whole.median_response_time)
"""


SPEAKING = """\
description: Recordings and people who speak.
seconds: 6
warmup: 0
users: 1
mix:
  - {task: asr, protocol: rest, users: 1, period: 1, slo: {p99_ms: 5000}}
  - {task: asr, protocol: grpc, users: 1, period: 1, slo: {p99_ms: 5000}}
  - {task: asr, protocol: rest, live: true, users: 1, period: 0.1, slo: {p99_ms: 5000}}
  - {task: asr, protocol: grpc, live: true, users: 1, period: 0.1, slo: {p99_ms: 5000}}
"""


async def test_recordings_are_uploaded_and_examples_spoken(profile: Path, tmp_path: Path) -> None:
    async with serve_asr() as server:
        code, output = await run_load(server, profile, tmp_path / "out", content=SPEAKING)
    assert code == 0, output
    parts = json.loads((tmp_path / "out" / "load.json").read_text())["parts"]
    found = {(part["name"], part["protocol"]): part for part in parts if not part["errors"]}
    for protocol in ("rest", "grpc"):
        assert found["asr/Transcribe", protocol]["calls"] >= 3
        whole, first, final = (
            found[f"asr/StreamTranscribe{part}", f"{protocol} live"]["p50_ms"] for part in ("", " first", " final")
        )
        assert first < len(SPEECH) / 16 < whole
        assert final < 5000


SILENT = """
from gevent import monkey; monkey.patch_all()
from locust.env import Environment
from loadtests.load.users import user_class
from services.clients import ServingError
from services.core.task import Timed
from services.tasks.asr import STREAM_TRANSCRIBE, TASK, StreamTranscribeRequest

class Client:
    def converse(self, method, requests, timeout):
        yield next(requests)

user = user_class(TASK, STREAM_TRANSCRIBE, "rest live")(Environment())
user._client = Client()
try:
    user.exchange([Timed(due, StreamTranscribeRequest()) for due in (0.0, 0.2)])
except ServingError as error:
    print(error.message)
"""


def test_a_live_call_without_a_last_answer_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "No answer came after the last request.\n"


def test_streams_report_their_first_piece_and_their_end() -> None:
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True, text=True, timeout=60, check=True)
    number, first, whole = map(float, done.stdout.split())
    assert 5 <= number <= 10
    assert first < 50 <= 95 <= whole <= 200
