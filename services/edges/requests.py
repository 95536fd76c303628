"""What handlers read of an HTTP request: its headers and, within limits, its body. Knows ASGI and no task."""

from collections.abc import AsyncGenerator, Iterable, Mapping

from starlette.types import Receive

from services.core.errors import Code, ServingError
from services.core.forms import Form
from services.core.settings import Settings
from services.edges import multipart
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
    if not (_is_plain(headers) and _kind(headers.get("content-type", "")) in ("", "application/json")):
        raise ServingError(
            Code.UNSUPPORTED_MEDIA, "Send the body as plain JSON with the header 'Content-Type: application/json'."
        )
    limit = max_bytes * (_ESCAPES if VIA in headers else 1)
    return await _read(receive, headers.get("content-length", ""), limit)


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether the body says that it is a form that may have files."""
    return _kind(headers.get("content-type", "")) == multipart.MEDIA


async def read_form(receive: Receive, headers: Mapping[str, str], settings: Settings) -> Form:
    """The body of a request that says it is a form.

    Raises:
        ServingError: it is none, is too long, or was not sent to its end.
    """
    if not _is_plain(headers):
        raise ServingError(Code.UNSUPPORTED_MEDIA, "Send the form as it is, without a 'Content-Encoding'.")
    limit, longest = settings.max_upload_bytes, multipart.MAX_FIELD_BYTES
    if VIA in headers:  # all that a gateway took comes as one field and one file
        longest = settings.max_request_bytes * _ESCAPES
        limit += longest
    body = _chunks(receive, headers.get("content-length", ""), limit)
    return await multipart.read_parts(headers["content-type"], body, longest)


async def _chunks(receive: Receive, length: str, limit: int) -> AsyncGenerator[bytes]:
    """The body as it comes, no further than ``limit`` bytes."""
    too_long = ServingError(Code.TOO_LARGE, f"The request is over {limit} bytes; send a smaller file.")
    if length.isdecimal() and int(length) > limit:
        raise too_long
    while (message := await receive())["type"] == "http.request":
        chunk = message.get("body", b"")
        limit -= len(chunk)
        if limit < 0:
            raise too_long
        yield chunk
        if not message.get("more_body"):
            return
    raise _hung_up()


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_plain(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "") in ("", "identity")


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
    raise _hung_up()


def _hung_up() -> ServingError:
    return ServingError(Code.CANCELLED, "The client closed the connection before its request was whole.")
