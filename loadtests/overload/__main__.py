"""``python -m loadtests.overload``: offer more than the server can answer."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench.run import RESULTS
from loadtests.overload.run import run_overload


def main(out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = RESULTS) -> None:
    """Measure goodput and latency at one, two and three times the server's peak."""
    run_overload(out)


if __name__ == "__main__":
    typer.run(main)
