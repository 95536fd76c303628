"""The ``chorale`` command: serve, models, eval, bench."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services import __version__
from services.core.errors import OperatorError, ServingError
from services.core.settings import Settings
from services.core.task import Task
from services.runtime import greeting
from services.runtime.cli_models import evaluate, models_app
from services.runtime.loading import ensure_artefacts
from services.runtime.local import probe_ports, run_local
from services.runtime.terminal import TasksOption, console, settings_from, world_of

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(models_app, name="models")
app.command("eval")(evaluate)


def main() -> None:
    """Run the command; what an operator can mend is told in one sentence, without a stack trace."""
    try:
        app()
    except (OperatorError, ServingError) as error:
        message = error.message if isinstance(error, ServingError) else str(error)
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {message}", style="red")
        sys.exit(1)


def _version(wanted: bool) -> None:
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
    started = time.monotonic()
    settings = settings_from(tasks=tasks, host=host, rest_port=rest_port, grpc_port=grpc_port)
    chosen, catalog = world_of(settings)
    probe_ports(settings, () if in_process else chosen)
    ensure_artefacts(settings, catalog.specs)
    if in_process:
        run_local(settings, lambda: _announce(settings, chosen, (), started))
    else:
        from services.runtime.ray_local import run_ray

        run_ray(settings, chosen, console.print, lambda: _announce(settings, chosen, chosen, started))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, for trying the harness.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for JSON, Markdown and plot.")] = Path("loadtests/results"),
) -> None:
    """Measure requests/s, latency and CPU per request against limits, in one run."""
    from loadtests.bench.run import run_bench

    run_bench(out, quick)


def _announce(settings: Settings, tasks: tuple[Task, ...], lanes: tuple[Task, ...], started: float) -> None:
    task, method, example = greeting.first_example(tasks)
    console.print(f"\n[bold]Chorale is ready[/bold] after {time.monotonic() - started:.1f} s. Ctrl-C stops it.")
    for line in greeting.addresses(settings, lanes):
        console.print(f"  {line}", markup=False)
    console.print("\nTry it:")
    console.print(greeting.curl(method, example, settings), markup=False)
    console.print(greeting.grpcurl(task, method, example, settings), markup=False)


if __name__ == "__main__":
    main()
