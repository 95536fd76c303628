"""``python -m loadtests.llm``: measure text generation."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench.run import RESULTS
from loadtests.llm.run import run_llm


def main(
    out: Annotated[Path, typer.Option(help="Folder for JSON and Markdown.")] = RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="One round.")] = False,
) -> None:
    """Measure tokens per second on a random Llama of 110 M parameters."""
    run_llm(out, rounds=1 if quick else 3)


if __name__ == "__main__":
    typer.run(main)
