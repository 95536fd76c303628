"""Named things imported on first use: ``"package.module:Name"`` -> the object."""

import importlib
from typing import Any


def load(path: str) -> Any:
    """The object at ``module:name``.

    Raises:
        ValueError: the path is not of that form, or the module has no such name.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"{path!r} is not of the form 'package.module:Name'")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise ValueError(f"{module} has no {name!r}") from error
