"""What adapters may be called. Names become folders, so whatever could lead out of one is not a name."""

import re

from services.core.errors import Code, ServingError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def checked(what: str, value: str) -> str:
    """The value, if it is a name.

    Raises:
        ServingError: INVALID_ARGUMENT, with ``what`` as the field at fault.
    """
    if not _NAME.fullmatch(value):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{what}: use at most 64 of a-z, 0-9, '.', '_' and '-', with a letter or digit first.",
            what,
        )
    return value


def optional(what: str, value: str | None) -> str | None:
    """The same, of what may be left out."""
    return checked(what, value) if value is not None else None


def checked_base(value: str) -> str:
    """The id of a base model, if it is one: ``name@version``."""
    name, _, version = value.partition("@")
    return f"{checked('model', name)}@{checked('model', version)}"


def asked(model: str | None) -> tuple[str, str | None] | None:
    """Name and version of the adapter in a model id, if it has one: ``base:name@2`` -> ``("name", "2")``."""
    _, _, adapter = (model or "").partition(":")
    name, _, version = adapter.partition("@")
    return (name, version or None) if name else None
