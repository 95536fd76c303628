"""The benchmark's peers: their dialects, their environments, their place in the report; and each that is installed."""

import json
import socket
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from loadtests.bench import direct, report
from loadtests.bench.contenders import GRPC_LANE, TASK_LANE, Ports
from loadtests.bench.generator import Generator
from loadtests.bench.measure import Bench, Plan
from loadtests.bench.peers import AS_USED, PEERS, SORTED, TASK, Peer, artefact
from loadtests.bench.result import Result, Window, ratios
from loadtests.bench.run import choose
from loadtests.bench.samples import DIALECTS, Sample, wire, write_samples, wrong_body
from loadtests.peers import install
from loadtests.peers.model import Classifier, as_json

TEXTS = (
    "fine",
    "the delivery was late and the box was broken, again",
    "naïve “quoted” café, and a longer end to it all",
)

RANKED = [("positive", 0.75), ("negative", 0.25)]

ANSWERS: dict[str, tuple[Any, Any]] = {
    "chorale": ({"text": "fine"}, {"model": "m", "usage": {}, "results": [as_json(RANKED)]}),
    "object": ({"text": "fine"}, as_json(RANKED)),
    "list": ({"texts": ["fine"]}, [as_json(RANKED)]),
    "open-inference": (
        {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["fine"]}]},
        {
            "model_name": "sentiment",
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [1, 2], "data": ["positive", "negative"]},
                {"name": "score", "datatype": "FP32", "shape": [1, 2], "data": [0.75, 0.25]},
            ],
        },
    ),
}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(direct.right_answers(direct.load(TASK), TEXTS))


@pytest.fixture
def known(tmp_path: Path) -> dict[str, install.Environment]:
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    (requirements / "a.txt").write_text("# nothing\n", encoding="utf-8")
    return install.environments(requirements, tmp_path / "environments")


def test_every_dialect_is_known_here() -> None:
    assert set(ANSWERS) == set(DIALECTS)
    assert {peer.dialect for peer in PEERS} < set(DIALECTS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_writes_requests_and_reads_answers(dialect: str) -> None:
    found = wire(TASK, dialect)
    request, answer = ANSWERS[dialect]
    sample = Sample("fine", ("positive", 0.75))
    assert json.loads(found.body(sample)) == request
    body = json.dumps(answer).encode()
    assert wrong_body(found, sample, body) is None
    assert "negative" in (wrong_body(found, Sample("fine", ("negative", 0.75)), body) or "")
    assert "0.5" in (wrong_body(found, Sample("fine", ("positive", 0.5)), body) or "")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"1", b"{}", b"[]", b"[1, 2]", b'{"outputs": []}', b'{"labels": []}'])
def test_bodies_that_are_no_answer(dialect: str, body: bytes) -> None:
    assert wrong_body(wire(TASK, dialect), Sample("fine", ("positive", 0.75)), body)


def test_an_environment_is_made_once(known: dict[str, install.Environment], capfd: pytest.CaptureFixture[str]) -> None:
    environment = known["a"]
    assert not environment.installed
    assert install.install(known, []) == 0
    assert environment.installed
    mark = environment.folder / "mark"
    mark.touch()
    assert install.install(known, ["a"]) == 0
    assert mark.exists()
    assert "a: already installed" in capfd.readouterr().out
    environment.requirements.write_text("# other pins\n", encoding="utf-8")
    assert not environment.installed


def test_an_environment_that_cannot_be_made_is_told_and_is_not_installed(
    known: dict[str, install.Environment], capfd: pytest.CaptureFixture[str]
) -> None:
    known["a"].requirements.write_text("./no-such-file.whl\n", encoding="utf-8")
    assert install.install(known, []) == 1
    assert not known["a"].installed
    said = capfd.readouterr().out
    assert "error: a: " in said
    assert "no-such-file.whl" in said


def test_what_is_left_out_is_not_missed(known: dict[str, install.Environment], tmp_path: Path) -> None:
    wheel = tmp_path / "asking-1-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr(
            "asking-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: asking\nVersion: 1\nRequires-Dist: other"
        )
        archive.writestr("asking-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any")
        archive.writestr("asking-1.dist-info/RECORD", "")
    pins = known["a"].requirements
    pins.write_text(f"{wheel}\n", encoding="utf-8")
    assert install.install(known, []) == 1
    pins.write_text(f"# Without: other\n{wheel}\n", encoding="utf-8")
    assert known["a"].without == ("other",)
    assert install.install(known, []) == 0


def test_an_unknown_peer_is_told(known: dict[str, install.Environment], capfd: pytest.CaptureFixture[str]) -> None:
    assert install.install(known, ["b"]) == 2
    assert "unknown peer b; known: a" in capfd.readouterr().out


@pytest.mark.parametrize("environment", install.environments().values(), ids=lambda environment: environment.name)
def test_everything_is_pinned_and_the_engine_is_ours(environment: install.Environment) -> None:
    lines = environment.requirements.read_text(encoding="utf-8").splitlines()
    assert all("==" in line for line in lines if not line.startswith("#"))
    for package in ("onnxruntime", "tokenizers"):
        assert environment.version(package) == version(package)


def test_every_peer_has_its_environment_and_a_name_of_its_own() -> None:
    of_other_benchmarks = {"whisper"}
    assert {peer.environment for peer in PEERS} - {None} == set(install.environments()) - of_other_benchmarks
    assert len({peer.name for peer in PEERS}) == len({peer.series for peer in PEERS}) == len(PEERS)


def test_peers_are_left_out_when_they_are_not_installed() -> None:
    chosen, absent = choose([TASK], [], lambda peer: peer.environment is None)
    assert [contender.name for contender in chosen] == [
        "bare",
        "in-process",
        "Ray",
        "ray-defaults",
        "ray-defaults-sorted",
    ]
    assert "litserve" in absent
    assert "triton-sorted" in absent
    assert "ray-defaults" not in absent


def test_peers_are_contenders_when_they_are_installed() -> None:
    chosen, absent = choose([TASK, "echo"], [], lambda _: True)
    assert len(chosen) == 3 + len(PEERS)
    assert absent == []


def test_a_peer_that_is_named_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"not installed: litserve .*make peers"):
        choose([TASK], ["litserve"], lambda _: False)
    with pytest.raises(ValueError, match=r"no contender nginx for classification; there are: bare, .*litserve"):
        choose([TASK], ["nginx"])
    with pytest.raises(ValueError, match="no contender litserve for echo"):
        choose(["echo"], ["litserve"])
    assert choose(["echo"], [], lambda _: False)[1] == []


def test_lanes_ports_are_free() -> None:
    ports = Ports.free([TASK])
    assert ports.lane(TASK) == ports.grpc + 1
    with socket.create_server(("127.0.0.1", ports.lane(TASK))):
        other = Ports.free([TASK])
    assert {other.grpc, other.lane(TASK)}.isdisjoint({ports.lane(TASK)})


def test_groups_do_not_change_an_answer(samples: list[Sample]) -> None:
    folder, labels = artefact()
    classifier = Classifier(folder, labels, threads=1)
    for groups in (None, 1, 2, 4):
        found = classifier.classify(TEXTS, groups)
        for sample, ranked in zip(samples, found, strict=True):
            assert ranked[0][0] == sample.expected[0]
            assert ranked[0][1] == pytest.approx(sample.expected[1], abs=1e-3)
            assert sum(score for _, score in ranked) == pytest.approx(1)


def window(number: int, series: str, requests: int, in_flight: int = 16) -> Window:
    return Window(number, series, TASK, in_flight, requests, 0, None, 2.0, 1.5, 4.0, 0.5)


def litserve(batches: object) -> str:
    (found,) = [peer.series for peer in PEERS if peer.title == "LitServe" and peer.batches is batches]
    return found


def test_ratios_are_of_the_same_round() -> None:
    windows = [
        *(window(number, TASK_LANE, requests) for number, requests in ((1, 1000), (2, 2000), (3, 900))),
        *(window(number, "x", requests) for number, requests in ((2, 500), (1, 1000), (4, 1), (3, 0))),
    ]
    assert ratios(windows, TASK_LANE, "x", TASK, 16) == [1.0, 4.0]
    assert ratios(windows, TASK_LANE, "y", TASK, 16) == []


def test_the_report_divides_our_lanes_by_each_peer() -> None:
    ours = [window(n, lane, 1000 * n) for n in (1, 2, 3) for lane in (TASK_LANE, GRPC_LANE)]
    theirs = [window(n, litserve(AS_USED), 500 * n) for n in (1, 2, 3)]
    theirs += [window(n, litserve(SORTED), requests) for n, requests in ((1, 1000), (2, 1600), (3, 2000))]
    text = report.markdown(Result({}, {}, (*ours, *theirs), (), ()))
    assert "| LitServe | 16 | 2.00 | 1.25 (1.00 to 1.50) | 2.00 | 1.25 (1.00 to 1.50) |" in text
    assert "Triton |" not in text
    assert "against its peers" not in report.markdown(Result({}, {}, tuple(ours), (), ()))


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as generator:
        yield generator


@pytest.mark.cluster
@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.batches is SORTED], ids=lambda peer: peer.name)
def test_a_peer_answers_rightly(peer: Peer, samples: list[Sample], generator: Generator, tmp_path: Path) -> None:
    if not peer.installed:
        pytest.skip(f"{peer.environment} is not installed: make peers")
    write_samples(samples, tmp_path / TASK)
    bench = Bench(Plan(1, 0.1, 0.3, 0.1), tmp_path, [TASK], generator, lambda _: None)
    bench.block(1, peer)
    assert [(window.series, window.in_flight) for window in bench.windows] == [(peer.series, 16), (peer.series, 64)]
    assert [window.first_wrong for window in bench.windows] == [None, None]
    assert all(window.requests >= 16 for window in bench.windows)
    assert bench.stacks[0].tasks == (TASK,)
