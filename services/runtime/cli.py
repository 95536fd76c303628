"""The ``chorale`` command: serve, models, eval, bench."""

import importlib.util
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.status import Status
from rich.table import Table

from services import __version__
from services.core.catalog import Catalog, ModelSpec
from services.core.errors import invalid
from services.core.settings import Settings
from services.core.task import Task
from services.runtime import greeting
from services.runtime.loading import BuildError, ensure_artefacts, read_world
from services.runtime.local import PortInUseError, probe_ports, run_local

app = typer.Typer(
    help="Text and speech models over REST and gRPC.", no_args_is_help=True, pretty_exceptions_enable=False
)
models_app = typer.Typer(help="The model catalog and the artefacts built from it.", no_args_is_help=True)
app.add_typer(models_app, name="models")

console = Console(highlight=False, soft_wrap=True)

TasksOption = Annotated[str | None, typer.Option(help="Tasks, comma separated. Default: CHORALE_TASKS, or all.")]


def _version(wanted: bool) -> None:  # typer calls it so
    if wanted:
        console.print(__version__)
        raise typer.Exit


@app.callback()
def chorale(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Text and speech models over REST and gRPC."""


@app.command()
def serve(
    in_process: Annotated[bool, typer.Option("--in-process", help="One process, without Ray.")] = False,
    tasks: TasksOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: loopback.")] = None,
    rest_port: Annotated[int | None, typer.Option(help="REST port. Default: 8000.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port. Default: 9000.")] = None,
) -> None:
    """Serve the tasks: on a local Ray cluster, or in one process. Ctrl-C drains and stops."""
    settings = _settings(tasks=tasks, host=host, rest_port=rest_port, grpc_port=grpc_port)
    started = time.monotonic()
    chosen, catalog = _world(settings)
    try:
        probe_ports(settings)
        ensure_artefacts(settings, catalog.specs)
        if in_process:
            run_local(settings, lambda: _announce(settings, chosen, (), started))
        else:
            from services.runtime.ray_local import StartError, run_ray

            try:
                run_ray(settings, chosen, console.print, lambda: _announce(settings, chosen, chosen, started))
            except StartError as error:
                _fail(str(error))
    except (BuildError, PortInUseError) as error:
        _fail(str(error))


@models_app.command("list")
def list_models(tasks: TasksOption = None) -> None:
    """Models of the catalog, and whether their artefacts are built."""
    from models.store import ArtefactStore

    settings = _settings(tasks=tasks)
    _, catalog = _world(settings)
    store = ArtefactStore(settings.home)
    table = Table("task", "model", "engine", "precision", "artefact", "licence", "score", box=None, pad_edge=False)
    for spec in catalog.specs:
        state = (store.fault(spec) or "built") if spec.architecture else "none needed"
        score = ", ".join(f"{score.dataset} {score.metric} {score.value:g}" for score in spec.scores)
        name = f"{spec.id}{' (default)' if spec.default else ''}"
        table.add_row(spec.task, name, spec.engine, spec.precision, state, spec.licence, score)
    console.print(table)


@models_app.command("build")
def build_models(model: Annotated[str | None, typer.Argument(help="Model id. Default: all.")] = None) -> None:
    """Build what is missing, stale or corrupted, and verify it. Sound artefacts are left alone."""
    from models.build import Builder
    from models.export.onnx import ExportError
    from models.export.verify import GateError
    from models.sources import SourceError
    from models.store import ArtefactStore

    _hush_exporters()
    settings = _settings()
    chosen, catalog = _world(settings)
    store = ArtefactStore(settings.home)
    for spec in _selected(catalog.specs, model):
        if not spec.architecture:
            continue
        label = f"{spec.id} {spec.precision}"
        with console.status(label) as status:
            builder = Builder(store, {task.name: task for task in chosen}, _steps(status, label))
            try:
                folder = builder.ensure(spec)
            except (SourceError, ExportError, GateError) as error:
                _fail(str(error))
        console.print(f"{label}: sound, {_size(folder)}")


@models_app.command("verify")
def verify_model(
    model: Annotated[str, typer.Argument(help="Model id.")],
    data: Annotated[Path | None, typer.Option(help="Labelled examples. Default: those of the model's gate.")] = None,
) -> None:
    """Compare a built model with its fp32 reference; fails when it is past its gate."""
    from models.build import Builder
    from models.export.verify import GateError, verify
    from models.store import ArtefactStore

    _hush_exporters()
    settings = _settings()
    chosen, catalog = _world(settings)
    (spec,) = _selected(catalog.specs, model)
    tasks = {task.name: task for task in chosen}
    builder = Builder(ArtefactStore(settings.home), tasks, console.print)
    candidate, reference = builder.ensure(spec), builder.ensure(spec.model_copy(update={"precision": "fp32"}))
    if candidate is None or reference is None:
        _fail(f"{spec.id} has no artefact to verify")
    try:
        report = verify(tasks[spec.task], spec, reference, candidate, data)
    except GateError as error:
        _fail(str(error))
    for name, value in report.model_dump().items():
        console.print(f"{name:18} {value}")


@app.command("eval")
def evaluate(
    task: Annotated[str, typer.Argument(help="Task name.")],
    data: Annotated[Path, typer.Option(help="Labelled examples.", exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="Model id. Default: the task's default.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or int8. Default: the catalog's.")] = None,
) -> None:
    """Score a model on labelled examples."""
    from models.build import Builder
    from models.export.verify import run_evaluation
    from models.store import ArtefactStore

    _hush_exporters()
    settings = _settings(tasks=task)
    (chosen,), catalog = _world(settings)
    spec = catalog.resolve(task, model)
    spec = ModelSpec.model_validate({**spec.model_dump(), "precision": precision or spec.precision})
    artefact = Builder(ArtefactStore(settings.home), {task: chosen}, console.print).ensure(spec)
    if artefact is None:
        _fail(f"{spec.id} has nothing to score")
    result, seconds = run_evaluation(chosen, spec, artefact, data)
    console.print(f"{spec.id} {spec.precision} on {data.name} ({seconds:.1f} s)")
    for name, value in result.metrics.items():
        console.print(f"  {name:10} {value:.4g}")


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, for trying the harness.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for JSON, Markdown and plot.")] = Path("loadtests/results"),
) -> None:
    """Measure requests/s, latency and CPU per request against limits, in one run."""
    if importlib.util.find_spec("loadtests.bench") is None:
        _fail("the benchmark lives in the repository; run it from a checkout: make bench")
    from loadtests.bench.run import run_bench

    run_bench(out, quick)


def _hush_exporters() -> None:
    """Torch's exporter and transformers narrate their internals; what matters here are our own steps and errors."""
    import transformers

    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _steps(status: Status, label: str) -> Callable[[str], None]:
    return lambda step: status.update(f"{label}: {step}")


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _fail(f"settings: {invalid(error).message}")


def _world(settings: Settings) -> tuple[tuple[Task, ...], Catalog]:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # libraries: warnings and worse
    for ours in ("services", "models"):
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    try:
        return read_world(settings)
    except ValueError as error:
        _fail(str(error))


def _selected(specs: tuple[ModelSpec, ...], model: str | None) -> list[ModelSpec]:
    found = [spec for spec in specs if model in (None, spec.id, spec.name, *spec.aliases)]
    if not found:
        _fail(f"no model {model!r}; known: {', '.join(spec.id for spec in specs)}")
    return found


def _announce(settings: Settings, tasks: tuple[Task, ...], lanes: tuple[Task, ...], started: float) -> None:
    task, method, example = greeting.first_example(tasks)
    console.print(f"\n[bold]Chorale is ready[/bold] after {time.monotonic() - started:.1f} s. Ctrl-C stops it.")
    for line in greeting.addresses(settings, lanes):
        console.print(f"  {line}", markup=False)
    console.print("\nTry it:")
    console.print(greeting.curl(method, example, settings), markup=False)
    console.print(greeting.grpcurl(task, method, example, settings), markup=False)


def _size(folder: Path | None) -> str:
    size = sum(path.stat().st_size for path in folder.iterdir()) if folder else 0
    return f"{size / 1e6:.1f} MB"


def _fail(message: str) -> NoReturn:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {message}")
    sys.exit(1)


if __name__ == "__main__":
    app()
