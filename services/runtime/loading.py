"""From settings to loaded models: artefacts checked (and built when they must be), engines opened, pipelines made.

Building needs torch, serving does not. So building happens in a process of its own, and a server never imports it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from models import adapters
from models.curve import read_curve, settled
from models.export import EXPORTERS
from models.store import ArtefactStore
from services.core import imports
from services.core.adapters import AdapterLibrary
from services.core.batching import Batcher
from services.core.catalog import Catalog, ModelSpec, read_catalog
from services.core.conversing import ConversingPipeline
from services.core.dialect import refuse_shared_routes
from services.core.engine import Engine, EngineOptions
from services.core.errors import OperatorError
from services.core.inference import InferenceService, Loaded
from services.core.pipelines import GeneratingPipeline, Pipeline
from services.core.schema import Request
from services.core.settings import Settings
from services.core.task import Task, discover
from services.core.telemetry import MODEL_LOAD_SECONDS, BatchTelemetry, Meter
from services.engines import ENGINES, TEST_ENGINES, engine_class


class BuildError(OperatorError):
    """Artefacts could not be built; the build's own message went to the terminal."""


def read_world(settings: Settings) -> tuple[tuple[Task, ...], Catalog]:
    """The tasks to serve and their models.

    Raises:
        OperatorError: unknown tasks, two with the same route, an invalid catalog, or an engine that is for tests only.
    """
    try:
        tasks = discover(settings.task_packages, settings.tasks)
        refuse_shared_routes(tasks)
        catalog = read_catalog(settings.catalog, [task.name for task in tasks])
        for spec in catalog.specs:
            _check(spec)
    except (ValueError, ImportError) as error:
        raise OperatorError(str(error)) from error
    if empty := [task.name for task in tasks if not catalog.of(task.name)]:
        raise OperatorError(f"no models for {', '.join(empty)}; check CHORALE_CATALOG, or leave the task out")
    return tasks, catalog


def _check(spec: ModelSpec) -> None:
    if spec.engine in TEST_ENGINES:
        raise ValueError(f"{spec.id}: engine {spec.engine!r} is for tests; its answers mean nothing")
    for value, table in ((spec.engine, ENGINES), (spec.architecture, EXPORTERS)):
        if value and value not in table:
            raise ValueError(f"{spec.id}: {value!r} is not known; known: {', '.join(table)}")


def ensure_artefacts(settings: Settings, specs: Sequence[ModelSpec]) -> None:
    """Make sure every artefact is there, sound, and timed on this machine; a child process does what is to be done.

    Raises:
        BuildError: the build failed.
    """
    store = ArtefactStore(settings.home)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        if all(not spec.architecture or _is_built(store, spec, settings) for spec in specs):
            return
    except OSError as error:
        raise OperatorError(f"CHORALE_HOME {settings.home} cannot be used: {error.strerror}") from error
    command = [sys.executable, "-m", "services.runtime.cli", "models", "build"]
    if subprocess.run(command, env={**os.environ, **environment(settings)}, check=False).returncode:
        raise BuildError("models could not be built; the reason is above. To see it again: chorale models build")


def _is_built(store: ArtefactStore, spec: ModelSpec, settings: Settings) -> bool:
    if store.fault(spec) is not None or adapters.missing(spec, settings.home):
        return False
    return read_curve(store, spec, settings.cpus) is not None


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process."""
    chosen = {
        "home": settings.home,
        "tasks": ",".join(settings.tasks),
        "task_packages": ",".join(settings.task_packages),
        "catalog": ",".join(map(str, settings.catalog)),
        "cpus": settings.cpus,
    }
    return {f"CHORALE_{name.upper()}": str(value) for name, value in chosen.items()}


def load_models(tasks: Sequence[Task], catalog: Catalog, settings: Settings, meter: Meter) -> list[Loaded]:
    """All models of these tasks, ready to run. Takes seconds; needs no event loop."""
    return [model for task in tasks for model in _load_task(task, catalog, settings, meter)]


def make_service(catalog: Catalog, loaded: Sequence[Loaded], settings: Settings, meter: Meter) -> InferenceService:
    """The service over loaded models. Call inside the event loop that will serve them."""
    lanes = max((model.spec.batch.lanes for model in loaded), default=0) or settings.cpus
    return InferenceService(catalog, loaded, Batcher(lanes, BatchTelemetry(meter)), meter)


def in_shape(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """The model with the batch shape measured on this machine, where its catalog entry leaves it open."""
    return settled(spec, read_curve(ArtefactStore(settings.home), spec, settings.cpus))


def _load_task(task: Task, catalog: Catalog, settings: Settings, meter: Meter) -> Iterator[Loaded]:
    store = ArtefactStore(settings.home)
    for spec in (in_shape(spec, settings) for spec in catalog.of(task.name)):
        started = time.monotonic()
        options = EngineOptions(
            spec.batch.lanes or settings.cpus,
            spec.batch.threads,
            precision=spec.precision,
            context=spec.max_tokens,
            generation=spec.generation,
            max_adapter_rank=spec.max_adapter_rank,
        )
        engine = engine_class(spec.engine).load(store.folder(spec), options)
        for path in dict.fromkeys(method.pipeline for method in task.methods):
            methods = [method for method in task.methods if method.pipeline == path]
            pipeline = _open_pipeline(path, spec, engine, settings)
            takes = tuple(method.request for method in methods)
            fit = (example for example in task.examples if isinstance(example, takes) and example.suits(spec))
            _warm_up(fit, pipeline)
            yield Loaded(spec, tuple(method.verb for method in methods), pipeline)
        meter.record(MODEL_LOAD_SECONDS, time.monotonic() - started, task.name, spec.id)


def _open_pipeline(path: str, spec: ModelSpec, engine: Engine, settings: Settings) -> Pipeline | ConversingPipeline:
    """Pipelines of models that take adapters are handed the library of them."""
    library = {"adapters": AdapterLibrary(settings.home, settings.adapter_roots)} if spec.max_adapter_rank else {}
    pipeline: Pipeline | ConversingPipeline = imports.load(path).load(
        spec, ArtefactStore(settings.home).folder(spec), engine, **library
    )
    return pipeline


def _warm_up(examples: Iterable[Request], pipeline: Pipeline | ConversingPipeline) -> None:
    """Answer the task's examples once, so that the first caller does not pay for what engines do lazily.

    Generators have computed something when they are loaded.
    """
    if isinstance(pipeline, GeneratingPipeline):
        return
    if isinstance(pipeline, ConversingPipeline):
        pipeline.warm_up()
        return
    for example in examples:
        items = pipeline.prepare(example)
        pipeline.finish(example, items, pipeline.run([item.payload for item in items]))
