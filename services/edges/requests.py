"""What handlers read of an HTTP request: its headers and, within limits, its body. Knows ASGI and no task."""

from collections.abc import Iterable, Mapping

from starlette.types import Receive

from services.core.errors import Code, ServingError
from services.edges.endpoint import VIA
from services.edges.status import too_large

_ESCAPES = 6
"""What a gateway forwards may be this much longer than what it took: JSON writes a control character as six."""


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; of a repeated one the first."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


async def read_json(receive: Receive, headers: Mapping[str, str], max_bytes: int) -> bytearray:
    """The body of a request that says it is JSON, or does not say what it is.

    Raises:
        ServingError: it is something else, too long, or was not sent to its end.
    """
    _require_json(headers.get("content-type", ""), headers.get("content-encoding", ""))
    limit = max_bytes * (_ESCAPES if VIA in headers else 1)
    return await _read(receive, headers.get("content-length", ""), limit)


def _require_json(content_type: str, encoding: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json") or encoding not in ("", "identity"):
        raise ServingError(
            Code.UNSUPPORTED_MEDIA, "Send the body as plain JSON with the header 'Content-Type: application/json'."
        )


async def _read(receive: Receive, length: str, limit: int) -> bytearray:
    """The body, read no further than ``limit`` bytes."""
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return body
    raise ServingError(Code.CANCELLED, "The client closed the connection before its request was whole.")
