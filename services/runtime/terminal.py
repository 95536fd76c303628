"""What the commands share: the console, settings from flags, and the tasks and models they speak of."""

import logging
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from services.core.catalog import Catalog
from services.core.errors import OperatorError, invalid
from services.core.settings import Settings
from services.core.task import Task
from services.runtime.loading import read_world

console = Console(highlight=False, soft_wrap=True)

TasksOption = Annotated[str | None, typer.Option(help="Tasks, comma separated. Default: CHORALE_TASKS, or all.")]


def settings_from(**flags: Any) -> Settings:
    """The settings, with flags that were given winning over the environment.

    Raises:
        OperatorError: a value is not valid.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise OperatorError(f"settings: {invalid(error, 'settings').message}") from error


def world_of(settings: Settings) -> tuple[tuple[Task, ...], Catalog]:
    """The tasks and their models; logging is set up on the way.

    Raises:
        OperatorError: unknown tasks or an invalid catalog.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # libraries: warnings and worse
    for ours in ("services", "models"):
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    return read_world(settings)
