"""How a Code looks on the wire: one table for HTTP, one for gRPC, and the type word of the error body."""

import json
import math
from typing import Any, NamedTuple

import grpc

from services.core.errors import Code, ServingError


class Wire(NamedTuple):
    """One code on both protocols."""

    http: int
    grpc: grpc.StatusCode
    type: str


_STATUS = grpc.StatusCode

WIRE: dict[Code, Wire] = {
    Code.INVALID_ARGUMENT: Wire(400, _STATUS.INVALID_ARGUMENT, "invalid_request_error"),
    Code.UNAUTHENTICATED: Wire(401, _STATUS.UNAUTHENTICATED, "authentication_error"),
    Code.PERMISSION_DENIED: Wire(403, _STATUS.PERMISSION_DENIED, "permission_error"),
    Code.NOT_FOUND: Wire(404, _STATUS.NOT_FOUND, "not_found_error"),
    Code.DEADLINE_EXCEEDED: Wire(408, _STATUS.DEADLINE_EXCEEDED, "timeout_error"),
    Code.CONFLICT: Wire(409, _STATUS.ABORTED, "conflict_error"),
    Code.TOO_LARGE: Wire(413, _STATUS.RESOURCE_EXHAUSTED, "invalid_request_error"),
    Code.UNSUPPORTED_MEDIA: Wire(415, _STATUS.INVALID_ARGUMENT, "invalid_request_error"),
    Code.OVERLOADED: Wire(429, _STATUS.RESOURCE_EXHAUSTED, "overloaded_error"),
    Code.CANCELLED: Wire(499, _STATUS.CANCELLED, "cancelled_error"),
    Code.INTERNAL: Wire(500, _STATUS.INTERNAL, "server_error"),
    Code.UNAVAILABLE: Wire(503, _STATUS.UNAVAILABLE, "server_error"),
}

_FOREIGN: dict[grpc.StatusCode, Code] = {
    **{wire.grpc: code for code, wire in reversed(WIRE.items())},
    _STATUS.UNIMPLEMENTED: Code.NOT_FOUND,
    _STATUS.RESOURCE_EXHAUSTED: Code.TOO_LARGE,  # a message past the limit of grpc itself
    _STATUS.CANCELLED: Code.UNAVAILABLE,  # more calls at once than grpc lets wait, or a server that shuts down
}
"""What is meant by a status that none of our code wrote."""

_BY_HTTP = {wire.http: code for code, wire in WIRE.items()}


def retry_after(error: ServingError) -> str | None:
    """The retry hint as both protocols send it: whole seconds, at least one."""
    return None if error.retry_after is None else str(max(1, math.ceil(error.retry_after)))


def error_body(error: ServingError, identity: str) -> bytes:
    """The body of a REST answer that is an error; `read_error` is its inverse."""
    fields = {
        "message": error.message,
        "type": WIRE[error.code].type,
        "param": error.param,
        "code": str(error.code),
        "request_id": identity,
    }
    return json.dumps({"error": fields}, ensure_ascii=False).encode()


def read_error(body: bytes, seconds: str | None) -> ServingError | None:
    """The error in a REST answer's body and ``retry-after``; None when there is none of ours."""
    try:
        error = json.loads(body)["error"]
        return ServingError(Code(error["code"]), str(error["message"]), error["param"], read_seconds(seconds))
    except (ValueError, KeyError, TypeError):
        return None


def read_foreign(status: int, message: str, seconds: str | None) -> ServingError:
    """The error that an HTTP status means when something else than a Chorale server sent it, such as a proxy."""
    code = _BY_HTTP.get(status, Code.UNAVAILABLE if status >= 500 else Code.NOT_FOUND)
    return ServingError(code, message, retry_after=read_seconds(seconds))


def read_seconds(value: str | None) -> float | None:
    """``retry-after`` in seconds; a date, which HTTP allows too, counts as none."""
    return float(value) if value and value.isdecimal() else None


def read_status(error: Any) -> ServingError:
    """The error in a ``grpc.RpcError``, its trailers included if a Chorale server wrote it."""
    trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    code = trailers.get("x-chorale-code")
    return ServingError(
        Code(code) if code in set(Code) else _FOREIGN.get(error.code(), Code.INTERNAL),
        error.details() or error.code().name,
        trailers.get("x-chorale-param"),
        read_seconds(trailers.get("retry-after")),
    )


def too_large(limit: int) -> ServingError:
    """A request body or message past ``limit`` bytes."""
    return ServingError(Code.TOO_LARGE, f"The request is over {limit} bytes; send less at a time, or a file as a form.")
