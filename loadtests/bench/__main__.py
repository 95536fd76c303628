"""``python -m loadtests.bench``: the benchmark with all its options."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench.run import RESULTS, SENTENCES, TASKS, run_bench


def main(
    out: Annotated[Path, typer.Option(help="Folder for JSON, Markdown and plot.")] = RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="One round of short windows.")] = False,
    sentences: Annotated[Path, typer.Option(help="Texts to send: first column of a tab-separated file.")] = SENTENCES,
    tasks: Annotated[str, typer.Option(help="Tasks, comma separated.")] = ",".join(TASKS),
    contenders: Annotated[str, typer.Option(help="Comma separated; empty: all.")] = "",
) -> None:
    """Measure requests/s, latency and CPU per request of every contender, in one run."""
    run_bench(out, quick, sentences, tuple(tasks.split(",")), tuple(filter(None, contenders.split(","))))


if __name__ == "__main__":
    typer.run(main)
