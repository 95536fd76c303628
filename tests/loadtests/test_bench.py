"""The load generator against a real server, the checks that make its figures worth something, and the report."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from loadtests.bench import processes, report
from loadtests.bench.contenders import HAPROXY, InProcess, Ports
from loadtests.bench.figures import figures
from loadtests.bench.generator import Generator
from loadtests.bench.load import Job
from loadtests.bench.measure import Bench, Plan
from loadtests.bench.result import Figure, Result, Stack, Window, read
from loadtests.bench.samples import Sample, read_sentences, wire, write_samples, wrong_body
from loadtests.bench.server import BenchError, Server, cpu_used, free_ports

Served = tuple[Server, Ports]

TEXTS = ("plain words", "naïve “quoted” café", 'a "quote" and a \\ backslash')


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    ports = Ports(*free_ports(2))
    with Server("in-process", InProcess().command(["echo"], ports)) as server:
        yield server, ports


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as generator:
        yield generator


def job(protocol: str, port: int, samples: Path, path: str = "/v1/echo", in_flight: int = 4) -> Job:
    return Job("echo", protocol, port, path, in_flight, str(samples), warm_seconds=0.05, seconds=0.3)


def samples(folder: Path, expected: dict[str, str] | None = None) -> Path:
    file = folder / "samples.json"
    write_samples([Sample(text, ((expected or {}).get(text, text), 0.0)) for text in TEXTS], file)
    return file


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_counts_right_answers_and_the_servers_cpu(
    served: Served, generator: Generator, tmp_path: Path, protocol: str
) -> None:
    server, ports = served
    before: dict[int, float] = {}
    port = ports.rest if protocol == "REST" else ports.grpc
    seen = generator.measure(job(protocol, port, samples(tmp_path)), lambda: before.update(server.cpu_seconds()))
    assert seen.requests > 20
    assert (seen.wrong, seen.first_wrong) == (0, None)
    assert 0.3 <= seen.seconds < 3
    assert 0 < seen.p50_ms <= seen.p99_ms
    assert 0 < cpu_used(before, server.cpu_seconds()) < 4 * seen.seconds * (os.cpu_count() or 1)


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_wrong_answer_is_told(served: Served, generator: Generator, tmp_path: Path, protocol: str) -> None:
    _, ports = served
    file = samples(tmp_path, {TEXTS[0]: "other words"})
    seen = generator.measure(job(protocol, ports.rest if protocol == "REST" else ports.grpc, file), lambda: None)
    assert 0 < seen.wrong < seen.requests
    assert "'plain words'" in (seen.first_wrong or "")


def test_a_refused_http_status_is_told(served: Served, generator: Generator, tmp_path: Path) -> None:
    _, ports = served
    seen = generator.measure(job("REST", ports.rest, samples(tmp_path), path="/v1/no-such-verb"), lambda: None)
    assert seen.wrong >= seen.requests > 0
    assert "HTTP b'404'" in (seen.first_wrong or "")


def test_a_refused_grpc_status_is_told(generator: Generator, tmp_path: Path) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))  # knows no service: every call is UNIMPLEMENTED
    (port,) = free_ports(1)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    seen = generator.measure(job("gRPC", port, samples(tmp_path)), lambda: None)
    server.stop(None).wait()
    assert seen.wrong >= seen.requests > 0
    assert "UNIMPLEMENTED" in (seen.first_wrong or "")


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_nobody_listens(generator: Generator, tmp_path: Path, protocol: str) -> None:
    with pytest.raises(BenchError, match="ConnectionRefused"):
        generator.measure(job(protocol, free_ports(1)[0], samples(tmp_path)), lambda: None)


def test_the_window_has_closed_before_its_answers_are_checked(
    served: Served, generator: Generator, tmp_path: Path
) -> None:
    steps: list[str] = []
    wanted = job("REST", served[1].rest, samples(tmp_path, {TEXTS[0]: "other words"}))
    seen = generator.measure(wanted, lambda: steps.append("before"), lambda: steps.append("after"))
    assert steps == ["before", "after"]
    assert seen.wrong


@pytest.mark.parametrize("body", [b"", b"{}", b'{"results": []}', b'{"results": [{"text": "b"}]}', b"[1]"])
def test_bodies_that_are_no_answer(body: bytes) -> None:
    assert wrong_body(wire("echo"), Sample("a", ("a", 0.0)), body)


def test_scores_may_differ_a_little_and_labels_not_at_all() -> None:
    sample = Sample("fine", ("positive", 0.9))
    body = b'{"results": [{"labels": [{"label": "%b", "score": %b}]}]}'
    assert wrong_body(wire("classification"), sample, body % (b"positive", b"0.9005")) is None
    assert wrong_body(wire("classification"), sample, body % (b"positive", b"0.905"))
    assert wrong_body(wire("classification"), sample, body % (b"negative", b"0.9"))


def test_a_server_that_dies_is_quoted() -> None:
    with (
        pytest.raises(BenchError, match=r"(?s)ended with code 3.*no such port"),
        Server("x", [sys.executable, "-c", "import sys; print('no such port'); sys.exit(3)"]),
    ):
        pass


@pytest.mark.slow
def test_a_stopped_server_leaves_no_process_behind() -> None:
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    child += " start_new_session=True); print('X is ready', flush=True); time.sleep(60)"
    with Server("x", [sys.executable, "-c", child]) as server:
        family = server.members()
        assert len(family) == 2
    assert not [process for process in family if process.is_running()]


def test_maps_tell_which_libraries_are_loaded() -> None:
    (self,) = [process for process in processes.members(os.getpid(), "none") if process.pid == os.getpid()]
    assert processes.maps_library(self, "libpython") or processes.maps_library(self, "python3")
    assert not processes.maps_library(self, "libnosuchthing")


def test_a_block_measures_every_address(tmp_path: Path) -> None:
    write_samples([Sample(text, (text, 0.0)) for text in TEXTS], tmp_path / "echo")
    said: list[str] = []
    with Generator() as generator:
        bench = Bench(Plan(1, 0.02, 0.1, 0.1), tmp_path, ["echo"], generator, said.append)
        bench.block(1, InProcess())
        bench.limits(1)
    assert {(window.series, window.in_flight) for window in bench.windows} == {
        (series, number) for series in ("in-process REST", "in-process gRPC", "engine limit") for number in (1, 16, 64)
    }
    assert all(window.requests and not window.wrong for window in bench.windows)
    (stack,) = bench.stacks
    assert stack.pss_mib > 10
    assert stack.torch_in == ()
    assert len(said) == 9


def test_sentences_are_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "verify.tsv"
    file.write_text("sentence\tlabel\nfine\tpositive\n\nbad “film”\tnegative\n", encoding="utf-8")
    assert read_sentences(file) == ["fine", "bad “film”"]
    file.write_text("\n")
    with pytest.raises(ValueError, match="no texts"):
        read_sentences(file)


def recorded() -> Result:
    def window(number: int, series: str, requests: int, cpu_ms: float) -> Window:
        return Window(number, series, "echo", 16, requests, 0, None, 2.0, 1.5, 4.0, cpu_ms, 0.3, 0.01)

    windows = (
        window(1, "Ray, task lane REST", 8000, 0.25),
        window(2, "Ray, task lane REST", 9000, 0.20),
        window(3, "Ray, task lane REST", 7000, 0.35),
        window(1, "Ray, gateway REST", 2000, 1.60),
        window(1, "engine limit", 80000, 0.01),
    )
    stack = Stack(0, "Ray", ("classification",), 12.5, 0.1, 900.0, ("raylet",), ())
    return Result(
        {"cpu": "A processor", "cores": "2", "python": "3.11"},
        {"rounds": "3"},
        windows,
        (stack,),
        figures(windows, [stack]),
    )


def test_figures_are_medians_held_against_their_limits() -> None:
    lane, hop, ready, torch, memory = recorded().figures
    assert (lane.value, lane.met) == (0.25, True)
    assert hop.value == pytest.approx(1.35)
    assert not hop.met
    assert (ready.value, ready.met, torch.value, torch.met) == (12.5, True, 0.0, True)
    assert memory.met
    assert HAPROXY not in {window.series for window in recorded().windows}


def test_the_report_says_what_was_measured(tmp_path: Path) -> None:
    result = recorded()
    report.write(result, tmp_path)
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert (
        "| Ray, task lane REST | 4,000 (3,500 to 4,500) | 10% | 1.50 | 4.00 | 0.250 (0.200 to 0.350) | 0.30 | 0 |"
        in text
    )
    assert "| 1.35 ms | at most 1.2 ms | **no** |" in text
    assert "make bench" in text
    assert read((tmp_path / "bench.json").read_bytes()) == result
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("at_least", [False, True])
def test_a_figure_at_its_limit_is_met(*, at_least: bool) -> None:
    assert Figure("x", 1.0, 1.0, "ms", at_least).met
    assert Figure("x", 1.1, 1.0, "ms", at_least).met == at_least


def test_the_command_line_refuses_what_it_cannot_measure(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "loadtests.bench",
        "--sentences",
        str(tmp_path / "none.tsv"),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none.tsv" in done.stderr
    assert "Traceback" not in done.stderr
