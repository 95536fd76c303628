"""The errors of the project, and the codes they may carry.

    Exception
    ├── ServingError        for a caller: code, one sentence saying what to do, offending parameter, retry hint
    └── OperatorError       for whoever runs the command: one sentence; settings, catalogs, ports, builds
        ├── BuildError        runtime/loading.py
        ├── PortInUseError    runtime/local.py
        ├── StartError        runtime/ray_local.py
        ├── SourceError       models/sources.py
        ├── ExportError       models/export/onnx.py
        ├── ArpaError         services/engines/ctc/arpa.py
        └── GateError         models/export/verify.py

Knows no protocol: how a code looks as an HTTP status or a gRPC status is in ``services/edges/status.py``.
Errors cross process boundaries, so they must survive pickling.
"""

from enum import StrEnum

from pydantic import ValidationError

_LONGEST_NAME = 100


class Code(StrEnum):
    """What went wrong, in words no protocol owns."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CONFLICT = "CONFLICT"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED_MEDIA = "UNSUPPORTED_MEDIA"
    OVERLOADED = "OVERLOADED"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"


class ServingError(Exception):
    """An error a caller may see.

    Args:
        code: what went wrong.
        message: one sentence that says what to do about it.
        param: the request field at fault, for example ``text[3]``.
        retry_after: seconds after which a retry is worth trying.
    """

    def __init__(self, code: Code, message: str, param: str | None = None, retry_after: float | None = None) -> None:
        # All four go to Exception.args, which is what pickle rebuilds the error from.
        super().__init__(code, message, param, retry_after)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class OperatorError(Exception):
    """What the person who runs the command can mend; shown as one sentence, without a stack trace."""


def too_late() -> ServingError:
    """A call whose deadline passed while it waited or ran."""
    return ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the answer was ready.")


def closing() -> ServingError:
    """A call that comes, or still waits, while the server ends."""
    return ServingError(Code.UNAVAILABLE, "The server is shutting down; retry elsewhere.", retry_after=1.0)


def invalid(error: ValidationError, what: str = "request") -> ServingError:
    """The first problem of a failed validation, as an INVALID_ARGUMENT that names the field and index of ``what``."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = _path(problem["loc"])
    sentence = problem["msg"][:1].lower() + problem["msg"][1:]
    if problem["type"] == "extra_forbidden" and param:
        return unknown_field(param, what)
    return ServingError(Code.INVALID_ARGUMENT, f"{param}: {sentence}" if param else sentence, param)


def unknown_field(name: str, what: str = "request") -> ServingError:
    """A field there is not."""
    name = name[:_LONGEST_NAME]
    return ServingError(Code.INVALID_ARGUMENT, f"{name}: is not a field of this {what}; remove it", name)


def _path(loc: tuple[int | str, ...]) -> str | None:
    """``("text", 3)`` -> ``text[3]``."""
    path = ""
    for whole in loc:
        part = whole[:_LONGEST_NAME] if isinstance(whole, str) else whole  # a client may send a name of megabytes
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or None
