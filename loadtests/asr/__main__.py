"""``python -m loadtests.asr``: measure speech recognition."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.asr.run import run_asr
from loadtests.bench.run import RESULTS


def main(
    out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="Short windows, one round.")] = False,
) -> None:
    """Measure clips per second on a model of the shape of Whisper tiny."""
    run_asr(out, quick=quick)


if __name__ == "__main__":
    typer.run(main)
