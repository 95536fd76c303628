"""The ``chorale`` command: serve, demo, config, models, adapters, eval, bench."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from services import __version__
from services.core.errors import OperatorError, ServingError
from services.core.settings import Settings
from services.core.task import Task
from services.runtime import greeting
from services.runtime.cli_adapters import adapters_app
from services.runtime.cli_models import evaluate, models_app
from services.runtime.demo import demo_pages
from services.runtime.loading import ensure_artefacts
from services.runtime.local import probe_ports, run_local
from services.runtime.serve_config import serve_config
from services.runtime.terminal import TasksOption, console, settings_from, world_of

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(models_app, name="models")
app.add_typer(adapters_app, name="adapters")
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
    demo: Annotated[bool, typer.Option("--demo", help="Also the demo pages, as `chorale demo` has them.")] = False,
) -> None:
    """Serve the tasks: on a local Ray cluster, or in one process. Ctrl-C drains and stops."""
    started = time.monotonic()
    settings = settings_from(tasks=tasks, host=host, rest_port=rest_port, grpc_port=grpc_port)
    chosen, catalog = world_of(settings)
    probe_ports(settings, () if in_process else chosen)
    ensure_artefacts(settings, catalog.specs)
    lanes = () if in_process else chosen
    with ExitStack() as stack:

        def on_ready() -> None:
            _announce(settings, chosen, lanes, started)
            if demo:
                stack.enter_context(demo_pages(settings))

        if in_process:
            run_local(settings, on_ready)
        else:
            from services.runtime.ray_local import run_ray

            run_ray(settings, chosen, console.print, on_ready)


@app.command("demo")
def show_demo(
    url: Annotated[str, typer.Option(help="REST of the server the pages are for.")] = "http://127.0.0.1:8000",
    grpc: Annotated[str, typer.Option(help="Its gRPC, as the pages show it.")] = "127.0.0.1:9000",
    grpc_certificate: Annotated[Path | None, typer.Option(help="PEM, if that is TLS; as the pages show it.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the pages.", min=1, max=65535)] = 7860,
) -> None:
    """Pages for a running server: a tab per task, and the call behind each answer."""
    started = time.monotonic()
    try:
        from gradio_demos.serve import build_app, run_demo
    except ModuleNotFoundError as error:
        raise OperatorError(f"the demo needs {error.name}: pip install 'chorale[demo]'") from error

    def on_ready() -> None:
        seconds = time.monotonic() - started
        console.print(f"Demo   http://{host}:{port}  for {url}, after {seconds:.1f} s. Ctrl-C stops it.", markup=False)

    run_demo(build_app(url, grpc, grpc_certificate), host, port, on_ready)


@app.command()
def config(tasks: TasksOption = None) -> None:
    """Print a Ray Serve config file of the tasks, for `serve deploy` or a KubeRay RayService."""
    settings = settings_from(tasks=tasks)
    chosen, _ = world_of(settings)
    sys.stdout.write(yaml.safe_dump(serve_config(settings, chosen), sort_keys=False))


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
    calls = (greeting.curl(method, example, settings), greeting.grpcurl(task, method, example, settings))
    console.print("\nTry it:", *calls, sep="\n", markup=False)


if __name__ == "__main__":
    main()
