"""``python -m loadtests.failure``."""

import typer

from loadtests.failure.run import main

if __name__ == "__main__":
    typer.run(main)
