"""``make load``: one profile against a running server; fails with a line per broken promise."""

# First of all, before anything takes what it replaces: locust's users are greenlets.
from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import grpc.experimental.gevent  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402

from loadtests.load import report  # noqa: E402
from loadtests.load.profile import Profile, entries, find_profile, read_profile  # noqa: E402
from loadtests.load.run import Target, run_load, users_of  # noqa: E402
from loadtests.load.slo import missed  # noqa: E402
from services.clients import ADDRESS, URL, RestClient, ServingError  # noqa: E402
from services.core.errors import OperatorError  # noqa: E402
from services.core.settings import Settings  # noqa: E402
from services.core.task import discover  # noqa: E402

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)  # logs are wide


def main(
    profile: Annotated[str, typer.Argument(help="A bundled profile's name, or a file.")] = "laptop",
    url: Annotated[str, typer.Option(help="REST of the server.")] = URL,
    grpc_address: Annotated[str, typer.Option("--grpc", help="gRPC of the server.")] = ADDRESS,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("build/load"),
) -> None:
    """Load a running server with a mix of calls; exit code 1 when a promise of the profile is broken."""
    grpc.experimental.gevent.init_gevent()
    try:
        broken = _run(find_profile(profile), Target(url, grpc_address), out)
    except (OperatorError, ServingError) as error:
        console.print(f"error: {error.message if isinstance(error, ServingError) else error}", markup=False)
        raise typer.Exit(2) from error
    for line in broken:
        console.print(f"missed: {line}", markup=False)
    sys.exit(1 if broken else 0)


def _run(file: Path, target: Target, out: Path) -> list[str]:
    chosen: Profile = read_profile(file)
    packages = Settings().task_packages
    with RestClient(target.url, timeout=10) as client:
        served = [card.name for card in client.tasks()]
    tasks = {task.name: task for task in discover(packages, opt_in=True) if task.name in served}
    if not tasks:
        raise OperatorError(f"of the server's tasks ({', '.join(served)}) none is in CHORALE_TASK_PACKAGES here")
    mix = entries(chosen, list(tasks), file)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"{out} cannot be a folder for the report: {error.strerror}") from error
    console.print(f"{chosen.description} {chosen.seconds:g} s, {chosen.users} users.", markup=False)
    result = run_load(chosen, mix, users_of(chosen, [(tasks[name], entry) for name, entry in mix], target), out)
    broken = missed(chosen, mix, result)
    report.write(chosen, result, broken, out)
    console.print(report.table(result))
    console.print(f"report: {out / 'locust.html'}, {out / 'load.png'}", markup=False)
    return broken


if __name__ == "__main__":
    typer.run(main)
