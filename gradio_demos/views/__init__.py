"""Hand-made views of answers: a module here, named after its task, with ``show(request, answer) -> HTML``.

A task without one is shown as JSON. What comes from a server or a user is escaped here, by `html.escape`.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

Show = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Body of a request and of its answer -> HTML."""


def find_view(task: str) -> Show | None:
    """The view of a task, if it has one."""
    name = f"{__name__}.{task}"
    if not task.isidentifier() or importlib.util.find_spec(name) is None:
        return None
    show: Show = importlib.import_module(name).show
    return show
