"""``chorale models`` and ``chorale eval``: what there is, building it, and scoring it. Imports torch only to build."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status
from rich.table import Table

from models import adapters
from models.curve import BatchCurve, settled
from models.store import ArtefactStore
from services.core.catalog import Catalog, ModelSpec, Precision
from services.core.engine import generates
from services.core.errors import OperatorError
from services.core.task import Task
from services.engines import engine_class
from services.runtime.terminal import TasksOption, console, settings_from, world_of

if TYPE_CHECKING:
    from models.build import Builder

models_app = typer.Typer(help="The model catalog and the artefacts built from it.", no_args_is_help=True)


@models_app.command("list")
def list_models(tasks: TasksOption = None) -> None:
    """Models of the catalog, and whether their artefacts are built."""
    settings = settings_from(tasks=tasks)
    _, catalog = world_of(settings)
    store = ArtefactStore(settings.home)
    table = Table("task", "model", "engine", "precision", "artefact", "licence", "score", box=None, pad_edge=False)
    for spec in catalog.specs:
        state = (store.fault(spec) or "built") if spec.architecture else "none needed"
        score = ", ".join(f"{score.dataset} {score.metric} {score.value:g}" for score in spec.scores)
        name = f"{spec.id}{' (default)' if spec.default else ''}"
        table.add_row(spec.task, name, spec.engine, spec.precision, state, spec.licence, score)
    console.print(table)


@models_app.command("build")
def build_models(
    model: Annotated[str | None, typer.Argument(help="Model id. Default: all.")] = None, tasks: TasksOption = None
) -> None:
    """Build what is missing, stale or corrupted; verify it; time it on this machine. What is sound is left alone."""
    settings = settings_from(tasks=tasks)
    chosen, catalog = world_of(settings)
    store = ArtefactStore(settings.home)
    for spec in catalog.specs if model is None else [_only(catalog, model)]:
        if spec.architecture:
            label = f"{spec.id} {spec.precision}"
            with console.status(label) as status:
                folder = _built(spec, chosen, store, _steps(status, label))
                curve = _builder(chosen, store, _steps(status, label)).curve(spec, settings.cpus)
                adapters.install(spec, settings.home, folder)
            size = sum(path.stat().st_size for path in folder.rglob("*"))
            console.print(f"{label}: sound, {size / 1e6:.1f} MB; {_shape(settled(spec, curve))}")


@models_app.command("measure")
def measure_model(model: Annotated[str, typer.Argument(help="Model id.")]) -> None:
    """Time a built model again, on a quiet machine, and show its curve: items/s by items and cost of an engine run."""
    settings = settings_from()
    tasks, catalog = world_of(settings)
    store, spec = ArtefactStore(settings.home), _only(catalog, model)
    label = f"{spec.id} {spec.precision}"
    with console.status(label) as status:
        _built(spec, tasks, store, _steps(status, label))
        curve = _builder(tasks, store, _steps(status, label)).curve(spec, settings.cpus, again=True)
    console.print(f"{label} on {curve.machine}: {_shape(settled(spec, curve))}")
    if not curve.batch_invariant:
        console.print("answers depend on the company an item keeps: it is served alone")
    console.print(_curve_table(curve))


@models_app.command("verify")
def verify_model(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Annotated[Path | None, typer.Option(help="Labelled examples. Default: those of the model's gate.")] = None,
) -> None:
    """Compare a built model with its fp32 reference; fails when it is past its gate."""
    from models.export.verify import verify

    settings = settings_from()
    tasks, catalog = world_of(settings)
    store, spec = ArtefactStore(settings.home), _only(catalog, model)
    candidate = _built(spec, tasks, store, console.print)
    reference = _built(spec.model_copy(update={"precision": Precision.FP32}), tasks, store, console.print)
    (task,) = [task for task in tasks if task.name == spec.task]
    for name, value in verify(task, spec, reference, candidate, data).model_dump().items():
        console.print(f"{name:18} {value}")


def evaluate(
    task: Annotated[str, typer.Argument(help="Task name.")],
    data: Annotated[Path, typer.Option(help="Labelled examples.", exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="Model id. Default: the task's default.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Default: the catalog's.")] = None,
) -> None:
    """Score a model on labelled examples."""
    from models.export.verify import run_evaluation

    settings = settings_from(tasks=task)
    (chosen,), catalog = world_of(settings)
    spec = catalog.resolve(task, model)
    spec = spec.model_copy(update={"precision": precision or spec.precision})
    artefact = _built(spec, (chosen,), ArtefactStore(settings.home), console.print)
    try:
        result, seconds = run_evaluation(chosen, spec, artefact, data)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    console.print(f"{spec.id} {spec.precision} on {data.name} ({seconds:.1f} s)")
    for name, value in result.metrics.items():
        console.print(f"  {name:10} {value:.4g}")
    for note in result.notes:
        console.print(f"  {note}", markup=False)


def _built(spec: ModelSpec, tasks: tuple[Task, ...], store: ArtefactStore, progress: Callable[[str], None]) -> Path:
    """The sound artefact of a model."""
    folder = _builder(tasks, store, progress).ensure(spec)
    if folder is None:
        raise OperatorError(f"{spec.id} needs no artefact: there is nothing to build or score")
    return folder


def _builder(tasks: tuple[Task, ...], store: ArtefactStore, progress: Callable[[str], None]) -> "Builder":
    from models.build import Builder

    _hush_exporters()
    return Builder(store, {task.name: task for task in tasks}, progress)


def _shape(spec: ModelSpec) -> str:
    if generates(engine_class(spec.engine)):
        return "what shares a step is settled as it runs"
    batch = spec.batch
    lanes = batch.lanes or "a lane per CPU"
    return f"{lanes} x {batch.threads} threads, up to {batch.group_items} in a run, padded by {batch.run_cost} at most"


def _curve_table(curve: BatchCurve) -> Table:
    """A row per split and number of items, a column per cost; first the windows of mixed costs."""
    costs: list[int | None] = [None, *sorted({point.cost for point in curve.points if point.cost})]
    table = Table("lanes x threads", "items", "mixed", *map(str, costs[1:]), box=None, pad_edge=False)
    speed = {(p.lanes, p.threads, p.items, p.cost): f"{p.items_per_second:,.0f}" for p in curve.points}
    for lanes, threads, items in sorted({(p.lanes, p.threads, p.items) for p in curve.points}):
        cells = [speed.get((lanes, threads, items, cost), "") for cost in costs]
        table.add_row(f"{lanes} x {threads}", str(items), *cells)
    return table


def _only(catalog: Catalog, model: str) -> ModelSpec:
    found = [spec for spec in catalog.specs if model in (spec.id, spec.name, *spec.aliases)]
    if not found:
        raise OperatorError(f"no model {model!r}; known: {', '.join(spec.id for spec in catalog.specs)}")
    return found[-1]  # the newest, as for a request


def _steps(status: Status, label: str) -> Callable[[str], None]:
    return lambda step: status.update(f"{label}: {step}")


def _hush_exporters() -> None:
    """Torch's exporter and transformers narrate their internals; what matters here are our own steps and errors."""
    import transformers

    warnings.simplefilter("ignore")
    # A filter, since torch sets its loggers' levels anew when the exporter is imported.
    logging.getLogger("torch.onnx._internal.exporter._registration").addFilter(lambda _: False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
