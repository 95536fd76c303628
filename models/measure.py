"""Times an artefact on this hardware: how many lanes of how many threads, and how many items in an engine run.

    splits of the CPUs into lanes x threads -> the fastest -> its curve over items x cost -> the batch policy

A run of n items of cost c takes about a + b n c: b is the work, a is what a run costs beside it.

Short windows in interleaved rounds, and the best of them: a disturbance passes, and it only ever slows.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, product
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.curve import BatchCurve, Point, machine
from models.store import ArtefactStore, recipe_digest
from services.core import imports
from services.core.catalog import BatchPolicy, ModelSpec
from services.core.engine import EngineOptions, generates
from services.core.task import Task
from services.engines import engine_class

ITEMS = (1, 2, 4, 8, 16, 32)
COSTS = (16, 32, 64, 128, 256, 512)

MIXED = tuple(range(6, 70, 2))
"""Costs of a window of ordinary items, sorted: what splits are compared on."""

MOST_COST = 4096
"""Larger runs are not timed: they take long, and no CPU wants them."""

GOOD_ENOUGH = 0.97
"""The smallest run this close to the best is taken: small runs answer sooner."""

WINDOW_SECONDS = 0.02
"""A lane takes about this much work at a time, to sort it by cost; nothing overtakes it, so it must not be long."""

WINDOW_RUNS = 4
"""Most full runs in it: past a few, more to sort saves nothing."""

SECONDS = 0.06
ROUNDS = 3

Shape = tuple[int, int | None]
"""Items in an engine run, and the cost of each; none: mixed."""

Progress = Callable[[str], None]


class Timed(Protocol):
    """What a pipeline must offer to be timed."""

    def sample(self, cost: int) -> Any:
        """A payload of this cost."""

    def run(self, payloads: Sequence[Any]) -> Sequence[Any]:
        """An engine run."""

    def close(self) -> None:
        """Free the engine."""


class Split(NamedTuple):
    """A way to spend CPUs."""

    lanes: int
    threads: int


def measure(task: Task, spec: ModelSpec, store: ArtefactStore, cpus: int, progress: Progress) -> BatchCurve:
    """Time the built artefact of ``spec``: some seconds of all CPUs. Where its pipeline has no samples, nothing is.

    Nor is a generator: what shares one of its steps is settled anew for each.
    """
    about = {"machine": machine(cpus), "recipe": recipe_digest(spec)}
    if generates(engine_class(spec.engine)):
        return BatchCurve(**about, batch_invariant=True, points=(), policy=BatchPolicy())
    with _pipeline(task, spec, store, Split(1, 1)) as pipeline:
        if not hasattr(pipeline, "sample"):
            return BatchCurve(**about, batch_invariant=True, points=(), policy=BatchPolicy())
        invariant = batch_invariant(pipeline)
    progress("timing lanes x threads")
    items = 4 if invariant else 1
    trials = [point for split in splits(cpus) for point in _timed(task, spec, store, split, [(items, None)])]
    best = fastest(trials)
    progress(f"timing {best.lanes} x {best.threads} by items and length")
    sizes = ITEMS if invariant else (1,)
    shapes = [
        (items, cost) for items, cost in product(sizes, COSTS) if cost <= spec.max_tokens and items * cost <= MOST_COST
    ]
    points = _timed(task, spec, store, best, shapes)
    return BatchCurve(**about, batch_invariant=invariant, points=(*trials, *points), policy=policy(best, points))


def splits(cpus: int) -> list[Split]:
    """Lanes x threads that use all CPUs: one thread per lane, one lane, and between."""
    return list(dict.fromkeys(Split(max(1, cpus // threads), threads) for threads in (1, 2, cpus) if threads <= cpus))


def fastest(trials: Sequence[Point]) -> Split:
    """The split that is quickest on mixed windows."""
    best = max(trials, key=lambda point: point.items_per_second)
    return Split(best.lanes, best.threads)


def policy(split: Split, points: Sequence[Point]) -> BatchPolicy:
    """The batch policy that follows from a curve over equal costs."""
    runs = [_Run(point.items, point.cost, point.items_per_second) for point in points if point.cost]
    best = [_smallest_good([run for run in runs if run.cost == cost]) for cost in {run.cost for run in runs}]
    items = max(run.items for run in best)
    most = max((run.items * run.cost for run in best if run.items > 1), default=1)
    speed = max(run.cost * run.items_per_second for run in runs) / split.lanes
    return BatchPolicy(
        lanes=split.lanes,
        threads=split.threads,
        group_items=items,
        group_cost=most,
        run_cost=_run_cost([run for run in runs if run.items * run.cost <= most], split.lanes),
        window_items=WINDOW_RUNS * items if items > 1 else 1,  # with groups of one there is nothing to sort
        window_cost=max(1, round(speed * WINDOW_SECONDS)),
    )


class _Run(NamedTuple):
    """A point of equal costs."""

    items: int
    cost: int
    items_per_second: float


def _smallest_good(runs: Sequence[_Run]) -> _Run:
    """Of runs of one cost, the smallest whose speed is good enough."""
    best = max(run.items_per_second for run in runs)
    return min(run for run in runs if run.items_per_second >= GOOD_ENOUGH * best)


def _run_cost(runs: Sequence[_Run], lanes: int) -> int:
    """What a run costs beside its items: a / b of the line through the runs' times, with least relative errors."""
    if len(runs) < 2:
        return 0
    seconds = np.array([run.items * lanes / run.items_per_second for run in runs])
    work = np.array([run.items * run.cost for run in runs])
    (a, b), *_ = np.linalg.lstsq(np.stack([1 / seconds, work / seconds], axis=1), np.ones(len(runs)))
    return max(0, round(a / b)) if b > 0 else 0


def batch_invariant(pipeline: Timed) -> bool:
    """Whether items of several costs get the same answers together as alone."""
    payloads = [pipeline.sample(cost) for cost in COSTS[:4]]
    together = pipeline.run(payloads)
    return all(np.allclose(pipeline.run([one])[0], row, atol=1e-3) for one, row in zip(payloads, together, strict=True))


def _timed(task: Task, spec: ModelSpec, store: ArtefactStore, split: Split, shapes: Sequence[Shape]) -> list[Point]:
    with _pipeline(task, spec, store, split) as pipeline:
        speeds = dict.fromkeys(shapes, 0.0)
        for shape in [*shapes] * ROUNDS:
            speeds[shape] = max(speeds[shape], _speed(pipeline, _batches(pipeline, *shape), split.lanes))
    return [
        Point(lanes=split.lanes, threads=split.threads, items=items, cost=cost, items_per_second=round(speed, 1))
        for (items, cost), speed in speeds.items()
    ]


def _batches(pipeline: Timed, items: int, cost: int | None) -> list[list[Any]]:
    if cost is not None:
        return [[pipeline.sample(cost)] * items]
    window = [pipeline.sample(cost) for cost in MIXED]
    return [window[first : first + items] for first in range(0, len(window), items)]


def _speed(pipeline: Timed, batches: Sequence[Sequence[Any]], lanes: int) -> float:
    """Items per second of lanes that run ``batches`` again and again."""
    done = [0] * lanes
    pipeline.run(batches[-1])
    started = time.perf_counter()

    def lane(number: int) -> None:
        for batch in cycle(batches):
            pipeline.run(batch)
            done[number] += len(batch)
            # A window is counted whole: its last groups are the slow ones.
            if batch is batches[-1] and time.perf_counter() > started + SECONDS:
                return

    workers = [threading.Thread(target=lane, args=(number,)) for number in range(lanes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - started)


@contextmanager
def _pipeline(task: Task, spec: ModelSpec, store: ArtefactStore, split: Split) -> Iterator[Timed]:
    folder = store.folder(spec)
    engine = engine_class(spec.engine).load(folder, EngineOptions(*split))
    pipeline: Timed = imports.load(task.methods[0].pipeline).load(spec, folder, engine)
    try:
        yield pipeline
    finally:
        pipeline.close()
