"""How benchmarks speak: progress and tables as they are, and the error that ends one."""

import sys
from typing import NoReturn

from rich.console import Console


def terminal() -> Console:
    """For what is to be read as it is."""
    return Console(highlight=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """End, with a sentence and an exit code that say so."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {message}", style="red", markup=False)
    sys.exit(1)
