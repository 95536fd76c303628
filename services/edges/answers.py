"""What handlers answer over HTTP: JSON, and errors. Knows no task."""

import json
from typing import Any

from starlette.responses import Response as HttpResponse

from services.core.dialect import JSON
from services.core.errors import ServingError
from services.edges.endpoint import REQUEST_ID
from services.edges.status import WIRE, error_body, retry_after


def error_response(error: ServingError, identity: str) -> HttpResponse:
    """The native error body with its status."""
    wire = WIRE[error.code]
    headers = {REQUEST_ID: identity}
    if (seconds := retry_after(error)) is not None:
        headers["retry-after"] = seconds
    return HttpResponse(error_body(error, identity), wire.http, headers, media_type=JSON)


def answer_response(content: bytes, identity: str, media: str = JSON) -> HttpResponse:
    """An answer that is whole."""
    return HttpResponse(content, media_type=media, headers={REQUEST_ID: identity})


def json_response(content: Any, status: int = 200) -> HttpResponse:
    """A page of a server about itself."""
    body = json.dumps(content, ensure_ascii=False).encode()
    return HttpResponse(body, status, media_type=JSON)
