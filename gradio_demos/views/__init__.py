"""What is hand-made for a task: a module here, named after it, with one or both of two functions.

    show(request, answer) -> HTML       how an answer is shown; without it, as JSON
    add_page(server, task, models)      adds a tab, before those of the task's methods

What comes from a server or a user is escaped here, by `html.escape`.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from gradio_demos.calls import Server
from services.edges.cards import ModelCard, TaskCard

Show = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Body of a request and of its answer -> HTML."""

AddPage = Callable[[Server, TaskCard, Sequence[ModelCard]], None]
"""The server, one of its tasks and its models -> one more tab."""


def find_view(task: str) -> Show | None:
    """The view of a task's answers, if it has one."""
    show: Show | None = getattr(_module(task), "show", None)
    return show


def find_page(task: str) -> AddPage | None:
    """The page of a task, if it has one."""
    add_page: AddPage | None = getattr(_module(task), "add_page", None)
    return add_page


def _module(task: str) -> ModuleType | None:
    name = f"{__name__}.{task}"
    if not task.isidentifier() or importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)
