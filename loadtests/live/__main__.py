"""``python -m loadtests.live``: measure speech recognition by the default model."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench.run import RESULTS
from loadtests.live.run import run_live


def main(
    out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = RESULTS,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of recordings. Default: the example's, again and again.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One round.")] = False,
) -> None:
    """Measure seconds of sound per second, and how soon live results are there."""
    run_live(out, rounds=1 if quick else 3, clips=clips)


if __name__ == "__main__":
    typer.run(main)
