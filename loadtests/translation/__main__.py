"""``python -m loadtests.translation``: measure translation."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench.run import RESULTS
from loadtests.translation.run import run_translation


def main(
    out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="Short windows, one round.")] = False,
) -> None:
    """Measure sentences per second on a model of the shape of opus-mt."""
    run_translation(out, quick=quick)


if __name__ == "__main__":
    typer.run(main)
