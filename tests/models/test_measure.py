"""The batch curve: timing real engines, choosing a shape from what was timed, and keeping it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import measure
from models.build import Builder
from models.curve import BatchCurve, Point, curve_file, machine, read_curve, settled, write_curve
from models.measure import Split, batch_invariant, fastest, policy, splits
from models.store import ArtefactStore, recipe_digest
from services.core.catalog import BatchPolicy
from services.core.task import discover
from tests.serving import fake_spec, tiny_tokenizer

TASKS = {task.name: task for task in discover(only=("classification",))}


def point(items: int, cost: int | None, speed: float, lanes: int = 2, threads: int = 1) -> Point:
    return Point(lanes=lanes, threads=threads, items=items, cost=cost, items_per_second=speed)


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [(1, [(1, 1)]), (2, [(2, 1), (1, 2)]), (3, [(3, 1), (1, 2), (1, 3)]), (8, [(8, 1), (4, 2), (1, 8)])],
)
def test_splits_spend_all_cpus_in_few_ways(cpus: int, expected: list[tuple[int, int]]) -> None:
    assert splits(cpus) == expected


def test_the_fastest_split_wins() -> None:
    assert fastest([point(4, None, 10, 2, 1), point(4, None, 12, 1, 2)]) == Split(1, 2)


def linear(run_ms: float, cost_ms: float, lanes: int) -> list[Point]:
    """A curve whose runs take ``run_ms`` and ``cost_ms`` per cost, up to 256; past it twice as much."""
    return [
        point(items, cost, lanes * items / (run_ms + cost_ms * items * cost * (2 if items * cost > 256 else 1)) * 1e3)
        for items in (1, 2, 4, 8, 16)
        for cost in (16, 64, 256)
    ]


def test_what_a_run_costs_beside_its_items_is_read_off_the_curve() -> None:
    chosen = policy(Split(2, 1), linear(run_ms=0.5, cost_ms=0.05, lanes=2))
    assert (chosen.lanes, chosen.threads) == (2, 1)
    assert chosen.run_cost == 10
    assert (chosen.group_items, chosen.group_cost) == (16, 256)
    assert chosen.window_cost == 385  # 20 ms at 19 a millisecond
    assert chosen.window_items == 64


def test_the_smallest_group_near_the_best_is_taken() -> None:
    curve = [point(1, 64, 400), point(2, 64, 500), point(4, 64, 505), point(1, 512, 30), point(2, 512, 20)]
    chosen = policy(Split(2, 1), curve)
    assert chosen.group_items == 2
    assert chosen.group_cost == 128  # two of 64; at 512 company only slows


def test_what_is_best_alone_is_served_alone() -> None:
    chosen = policy(Split(2, 1), [point(1, 64, 10)])
    assert (chosen.group_items, chosen.window_items, chosen.group_cost, chosen.run_cost) == (1, 1, 1, 0)


def test_a_catalog_entry_wins_over_the_curve_and_the_curve_over_defaults() -> None:
    spec = fake_spec(batch=BatchPolicy(group_items=7, queue_items=5))
    curve = BatchCurve(
        machine="m", recipe="r", batch_invariant=True, points=(), policy=BatchPolicy(group_items=2, threads=3)
    )
    batch = settled(spec, curve).batch
    assert (batch.group_items, batch.queue_items, batch.threads) == (7, 5, 3)
    assert batch.queue_cost == BatchPolicy().queue_cost
    assert settled(spec, None) is spec


class Neighbourly:
    """Answers depend on the batch, as those of a dynamically quantized graph do."""

    def sample(self, cost: int) -> Any:
        return np.arange(cost)

    def run(self, payloads: Sequence[Any]) -> Sequence[Any]:
        top = max(payload.max() for payload in payloads)
        return [np.array([payload.sum() / top]) for payload in payloads]

    def close(self) -> None:
        """Nothing to free."""


def test_a_model_whose_answers_depend_on_company_is_found_out() -> None:
    assert not batch_invariant(Neighbourly())


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.002)
    monkeypatch.setattr(measure, "COSTS", (16, 32, 64))


@pytest.mark.usefixtures("quick")
def test_an_artefact_is_timed_once_per_machine_and_again_when_it_changes(store: ArtefactStore) -> None:
    spec = fake_spec(architecture="none", max_tokens=64)
    store.folder(spec).mkdir(parents=True)
    tiny_tokenizer(store.folder(spec))
    builder = Builder(store, TASKS, lambda _: None)
    assert read_curve(store, spec, 2) is None
    curve = builder.curve(spec, 2)
    assert curve.batch_invariant
    assert curve.machine == machine(2)
    assert {(p.items, p.cost) for p in curve.points if p.cost} == {(i, c) for i in measure.ITEMS for c in (16, 32, 64)}
    assert all(p.items_per_second > 0 for p in curve.points)
    assert builder.curve(spec, 2) == read_curve(store, spec, 2) == curve
    assert builder.curve(spec, 2, again=True).points != curve.points
    assert read_curve(store, spec, 1) is None  # another share of the machine
    assert read_curve(store, spec.model_copy(update={"labels": ("other", "labels")}), 2) is None
    assert read_curve(store, spec, 2) is not None


def test_half_a_curve_is_none(store: ArtefactStore) -> None:
    spec = fake_spec()
    file = curve_file(store, spec, 2)
    file.parent.mkdir(parents=True)
    whole = BatchCurve(machine="m", recipe=recipe_digest(spec), batch_invariant=True, points=(), policy=BatchPolicy())
    write_curve(whole, file)
    assert read_curve(store, spec, 2) == whole
    file.write_text(file.read_text()[:30])
    assert read_curve(store, spec, 2) is None
