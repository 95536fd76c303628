"""A task's model used directly, with no server: the right answers, and the most the engine can do.

``python -m loadtests.bench.direct`` measures that limit in a process of its own: as many lanes (threads) as the server
would have, each taking its share of what is in flight, sorted by length and run in the groups the batcher would cut.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.bench.load import Seen
from loadtests.bench.samples import Answer, Sample, read_samples, wire
from services.core import imports
from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions
from services.core.inference import Pipeline
from services.core.schema import Request
from services.core.settings import Settings
from services.core.task import Task
from services.engines import engine_class
from services.runtime.loading import ensure_artefacts, read_world


@dataclass(frozen=True)
class Model:
    """The default model of a task, loaded."""

    task: Task
    spec: ModelSpec
    folder: Path
    engine: Any
    pipeline: Pipeline
    cpus: int

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
    folder = ArtefactStore(settings.home).folder(spec)
    engine = engine_class(spec.engine).load(folder, EngineOptions())
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

    def __init__(self, model: Model, samples: Sequence[Sample], in_flight: int) -> None:
        self._model = model
        self._texts = cycle([sample.text for sample in samples])
        self._lock = threading.Lock()
        self._lanes = min(model.cpus, in_flight)
        self._share = -(-in_flight // self._lanes)

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
        model, policy = self._model, self._model.spec.batch
        while (started := time.perf_counter()) < until:
            with self._lock:
                texts = list(islice(self._texts, min(self._share, policy.window_items)))
            work = [(request, model.pipeline.prepare(request)[0]) for request in map(model.request, texts)]
            work.sort(key=lambda pair: pair[1].cost)
            for first in range(0, len(work), policy.group_items):
                group = work[first : first + policy.group_items]
                outputs = model.pipeline.run([item.payload for _, item in group])
                for (request, item), output in zip(group, outputs, strict=True):
                    model.pipeline.finish(request, [item], [output])
                latencies += [time.perf_counter() - started] * len(group)


def main(task: str, samples: str, in_flight: str, warm_seconds: str, seconds: str) -> None:
    """Print what was seen for each number in flight, as JSON."""
    model, texts = load(task), read_samples(Path(samples))
    seen = {}
    for number in map(int, in_flight.split(",")):
        limit = Limit(model, texts, number)
        limit.measure(float(warm_seconds))
        seen[number] = asdict(limit.measure(float(seconds)))
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
