"""A task's model used directly, with no server: the right answers, and the most the engine can do.

``python -m loadtests.bench.direct`` measures that limit in a process of its own: as many lanes (threads) as the server
would have, each taking its share of what is in flight and doing all that a server must do with it: request record,
prepare, run, finish. Lanes and threads are those of the model's batch policy; of its windows and groups and some
others, the best are taken, so that the limit is the engine's and not the policy's.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.bench.load import Seen
from loadtests.bench.samples import Answer, Sample, read_samples, wire
from services.core import imports
from services.core.catalog import BatchPolicy, ModelSpec
from services.core.engine import EngineOptions
from services.core.grouping import cut
from services.core.pipelines import Pipeline
from services.core.queueing import Item
from services.core.schema import Request
from services.core.settings import Settings
from services.core.task import Task
from services.engines import engine_class
from services.runtime.loading import ensure_artefacts, in_shape, read_world

Work = tuple[Request, Item]

GROUPS = (1, 4, 8)
"""Items in an engine run that are tried beside the policy's own, each with all of a lane's share sorted together."""


@dataclass(frozen=True)
class Model:
    """The default model of a task, loaded; its batch policy is the one it is served with on this machine."""

    task: Task
    spec: ModelSpec
    folder: Path
    engine: Any
    pipeline: Pipeline
    cpus: int

    @property
    def lanes(self) -> int:
        """Engine runs at the same time."""
        return self.spec.batch.lanes or self.cpus

    def request(self, text: str) -> Request:
        """A request for one text."""
        return self.task.methods[0].request.model_validate({"text": text})


def load(task: str) -> Model:
    """Load a task's default model, building its artefact first when it has to be.

    Raises:
        ValueError: the catalog has no model for the task, or its engine is for tests.
        ServingError: the same.
        BuildError: the artefact cannot be built.
    """
    from models.store import ArtefactStore

    settings = Settings(tasks=(task,))
    (found,), catalog = read_world(settings)
    spec = catalog.resolve(task, None)
    ensure_artefacts(settings, [spec])
    spec = in_shape(spec, settings)
    folder = ArtefactStore(settings.home).folder(spec)
    engine = engine_class(spec.engine).load(
        folder, EngineOptions(spec.batch.lanes or settings.cpus, spec.batch.threads)
    )
    pipeline = imports.load(found.methods[0].pipeline).load(spec, folder, engine)
    return Model(found, spec, folder, engine, pipeline, settings.cpus)


def right_answers(model: Model, texts: Sequence[str]) -> Iterator[Sample]:
    """Each text alone through the pipeline."""
    read = wire(model.task.name).json_answer
    for text in texts:
        request = model.request(text)
        items = model.pipeline.prepare(request)
        response = model.pipeline.finish(request, items, model.pipeline.run([item.payload for item in items]))
        yield Sample(text, _pair(read(response.model_dump()["results"][0])))


def _pair(answer: Answer) -> Answer:
    return answer[0], float(answer[1])


class Limit:
    """Lanes that call the pipeline as fast as it answers."""

    def __init__(self, model: Model, policy: BatchPolicy, samples: Sequence[Sample], in_flight: int) -> None:
        self._model = model
        self._policy = policy
        self._texts = cycle([sample.text for sample in samples])
        self._lock = threading.Lock()
        self._lanes = min(model.lanes, in_flight)
        self._share = min(-(-in_flight // self._lanes), policy.window_items)

    def measure(self, seconds: float) -> Seen:
        """One window."""
        latencies: list[list[float]] = [[] for _ in range(self._lanes)]
        cpu, started = time.process_time(), time.perf_counter()
        threads = [threading.Thread(target=self._lane, args=(started + seconds, seen)) for seen in latencies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, used = time.perf_counter() - started, time.process_time() - cpu
        every = [seconds for seen in latencies for seconds in seen]
        p50, p99 = np.percentile(every, [50, 99]) * 1e3
        return Seen(len(every), 0, None, took, float(p50), float(p99), used)

    def _lane(self, until: float, latencies: list[float]) -> None:
        pipeline = self._model.pipeline
        while (started := time.perf_counter()) < until or not latencies:
            for group in cut(self._window(), _cost, self._policy):
                outputs = pipeline.run([item.payload for _, item in group])
                for (request, item), output in zip(group, outputs, strict=True):
                    pipeline.finish(request, [item], [output])
                latencies += [time.perf_counter() - started] * len(group)

    def _window(self) -> list[Work]:
        work: list[Work] = []
        cost = 0
        while len(work) < self._share and cost < self._policy.window_cost:
            with self._lock:
                text = next(self._texts)
            request = self._model.request(text)
            (item,) = self._model.pipeline.prepare(request)
            work.append((request, item))
            cost += item.cost
        return work


def _cost(work: Work) -> int:
    return work[1].cost


def policies(own: BatchPolicy, in_flight: int) -> list[BatchPolicy]:
    """The model's own, and others that may be better at so many in flight."""
    wide = own.model_copy(update={"window_items": in_flight, "window_cost": sys.maxsize})
    fixed = {"run_cost": sys.maxsize}
    others = [wide.model_copy(update={"group_items": items, **fixed}) for items in GROUPS if items <= in_flight]
    return [own, wide, *others]


def best(model: Model, samples: Sequence[Sample], in_flight: int, seconds: float) -> Limit:
    """Warms up: tries every policy for a while. The best answers the most requests per CPU second."""
    limits = [Limit(model, policy, samples, in_flight) for policy in policies(model.spec.batch, in_flight)]
    seen = [limit.measure(seconds) for limit in limits]
    return max(zip(seen, limits, strict=True), key=lambda pair: pair[0].requests / pair[0].cpu_seconds)[1]


def main(task: str, samples: str, in_flight: str, warm_seconds: str, seconds: str) -> None:
    """Print what was seen for each number in flight, as JSON."""
    model, texts = load(task), read_samples(Path(samples))
    limits = {number: best(model, texts, number, float(warm_seconds)) for number in map(int, in_flight.split(","))}
    seen = {number: asdict(limit.measure(float(seconds))) for number, limit in limits.items()}
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
