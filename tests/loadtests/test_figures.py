"""The figures that compare series: of the same round, then the median over the rounds."""

import pytest

from loadtests.bench.contenders import GRPC_LANE, HAPROXY, TASK_LANE
from loadtests.bench.figures import BARE, FULL, figures
from loadtests.bench.peers import AS_USED, PEERS, SORTED, TASK
from loadtests.bench.result import LIMIT, Figure, Window

MACHINE = {1: 1.0, 2: 0.5, 3: 2.0}
"""How fast the machine is in each round."""


def windows(series: str, rates: tuple[float, float, float], cpu_ms: float = 1.0, p99_ms: float = 3.0) -> list[Window]:
    return [
        Window(number, series, TASK, FULL, int(1000 * rate * speed), 0, None, 1.0, 2.0, p99_ms, cpu_ms / speed)
        for (number, speed), rate in zip(MACHINE.items(), rates, strict=True)
    ]


def named(found: tuple[Figure, ...], part: str) -> Figure:
    (figure,) = [figure for figure in found if part in figure.name]
    return figure


def test_series_are_compared_within_each_round() -> None:
    every = [
        *windows(TASK_LANE, (0.94, 0.80, 0.99), cpu_ms=2.0),
        *windows(GRPC_LANE, (1.0, 1.0, 1.0), cpu_ms=1.6, p99_ms=3.8),
        *windows(HAPROXY, (0.9, 0.9, 0.9), cpu_ms=1.9),
        *windows(BARE, (1.0, 1.0, 1.0)),
        *windows(LIMIT, (1.0, 1.1, 1.2), cpu_ms=1.5),
    ]
    found = figures(every, [])
    assert len(found) == 8
    rest, grpc = named(found, f"{TASK_LANE} / {BARE}"), named(found, f"{GRPC_LANE} / {BARE}")
    assert (rest.value, rest.met, grpc.value, grpc.met) == (pytest.approx(0.94), True, 1.0, False)
    assert named(found, f"{GRPC_LANE} / {LIMIT}").value == pytest.approx(1 / 1.1, abs=1e-3)
    above = f"above the {LIMIT} at {FULL}"
    assert named(found, f"{above}: {GRPC_LANE}").value == pytest.approx(0.1)
    assert not named(found, f"{above}: {TASK_LANE}").met
    assert named(found, f"{above}: {HAPROXY}").met
    assert named(found, f"p99 / p50 at {FULL}: {TASK_LANE}").met
    assert not named(found, f"p99 / p50 at {FULL}: {GRPC_LANE}").met


def test_rounds_that_only_one_has_are_left_out() -> None:
    found = figures([*windows(TASK_LANE, (0.5, 0.9, 1.0)), windows(BARE, (1.0, 1.0, 1.0))[1]], [])
    assert named(found, BARE).value == pytest.approx(0.9)


def test_peers_have_their_figures_when_they_were_measured() -> None:
    assert not [figure for figure in figures(windows(BARE, (1.0, 1.0, 1.0)), []) if "/" in figure.name]
    every = windows(TASK_LANE, (1.5, 1.5, 1.5))
    for peer in PEERS:
        every += windows(peer.series, (1.0, 1.0, 1.0))
    found = [figure for figure in figures(every, []) if f"{TASK_LANE} / " in figure.name]
    assert {figure.limit for figure in found} == {1.6, 1.0}
    peers = {(peer.title, peer.batches): peer.series for peer in PEERS}
    measured = {figure.name.rpartition(" / ")[2] for figure in found}
    assert measured == {peers[title, batches] for title in ("LitServe", "Triton") for batches in (AS_USED, SORTED)}
    assert all(figure.met == (figure.limit == 1.0) for figure in found)
