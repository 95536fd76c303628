"""What both REST clients share: all but the waiting."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.clients.calls import Call, CallOptions, NeverBegunError, Retry, require
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import AnswerT_co, Method
from services.edges.form_body import FormBody, form_of
from services.edges.status import read_error, read_foreign

URL = "http://127.0.0.1:8000"
"""Where ``chorale serve`` has REST unless told otherwise."""

Body = bytes | FormBody

_Card = TypeVar("_Card", bound=BaseModel)
_Part = TypeVar("_Part")


class RestCalls:
    """What both clients share: all but the waiting."""

    def __init__(self, url: str, *, timeout: float = 60.0, retry: Retry | None = None) -> None:
        self.url = _checked(url)
        self._secure = httpx.URL(self.url).scheme == "https"  # reading the authorities takes longer than many calls
        self._timeout = timeout
        self._retry = retry or Retry()

    def _open(self, options: CallOptions, *, idempotent: bool = True) -> Call:
        return Call(self._retry, self._timeout, options, idempotent=idempotent)

    def _open_live(self, options: CallOptions) -> Call:
        """A call that has all the time there is, and of whose requests none is sent before its connection is there."""
        return Call(self._retry, math.inf, options, idempotent=True)

    def _request(self, call: Call, route: str, body: Body | None) -> dict[str, Any]:
        """What httpx is to send."""
        kind = body.headers if isinstance(body, FormBody) else {"content-type": "application/json"}
        return {
            "method": "GET" if body is None else "POST",
            "url": self.url + route,
            "content": body,
            "headers": call.headers() | kind,
            "timeout": call.remaining(),
        }

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What became of the connection, as a `ServingError`."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error):
                raise ServingError(Code.UNAUTHENTICATED, f"{self.url}: {error}") from error
            message = f"No server answers at {self.url}; is it running?"
            raise ServingError(Code.UNAVAILABLE, message) from NeverBegunError(str(error))
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, f"{self.url} did not answer in time.") from error
        except httpx.RequestError as error:
            message = f"{self.url} closed the connection before its answer came."
            raise ServingError(Code.UNAVAILABLE, message) from error

    def _content(self, response: httpx.Response, content: bytes) -> bytes:
        # A server that is not ready says so with 503 and the body of one that is.
        if response.status_code == 200 or (response.status_code == 503 and content.startswith(b'{"ready"')):
            return content
        seconds = response.headers.get("retry-after")
        raise read_error(content, seconds) or read_foreign(
            response.status_code, self._stranger(response.status_code), seconds
        )

    def _stranger(self, status: int) -> str:
        """Something between, or another server altogether, answered."""
        return f"{self.url} answered {status}, but not as a Chorale server does; is the URL right?"

    def _fields(self, content: bytes) -> dict[str, Any]:
        return self._part(dict[str, Any], content)

    def _tasks_ready(self, content: bytes) -> dict[str, bool]:
        return self._part(dict[str, bool], content, "tasks")

    def _cards(self, card: type[_Card], field: str, content: bytes) -> tuple[_Card, ...]:
        return self._part(tuple[card, ...], content, field)  # type: ignore[valid-type]

    def _part(self, kind: type[_Part], content: bytes, field: str | None = None) -> _Part:
        """An answer, or one field of it."""
        try:
            answer = json.loads(content)
            return TypeAdapter(kind).validate_python(answer if field is None else answer[field])
        except (ValueError, KeyError, TypeError) as error:
            raise ServingError(Code.INTERNAL, self._stranger(200)) from error


def in_time(response: httpx.Response, call: Call) -> Iterator[bytes]:
    """The body as it comes; httpx itself only bounds the time between two parts."""
    for part in response.iter_bytes():
        yield part
        if call.is_over:
            raise TimeoutError


def _checked(url: str) -> str:
    try:
        parts = httpx.URL(url)
        fit = parts.scheme in ("http", "https") and parts.host
    except httpx.InvalidURL:
        fit = False
    if not fit:
        raise ServingError(Code.INVALID_ARGUMENT, f"{url!r} is no URL of a server; give one such as {URL}.", "url")
    return url.rstrip("/")


def body_of(method: Method[AnswerT_co], request: Request) -> Body:
    """A request as it is sent."""
    require(method, request)
    return form_of(request) or request.model_dump_json(exclude_unset=True).encode()


def plain_body(body: Mapping[str, Any]) -> Body:
    """A body of plain values; one of them may be bytes."""
    files = [name for name, value in body.items() if isinstance(value, bytes | memoryview)]
    if not files:
        return json.dumps(body).encode()
    if len(files) > 1:
        raise TypeError(f"only one field may be bytes, not {' and '.join(files)}")
    fields = {name: value for name, value in body.items() if name not in files}
    return FormBody(json.dumps(fields), files[0], body[files[0]])


def answer_of(method: Method[AnswerT_co], content: bytes) -> AnswerT_co:
    """An answer as it came. Raises ServingError if it is none."""
    try:
        return method.response.model_validate_json(content, extra="ignore")  # the server may be newer than the client
    except ValidationError as error:
        raise ServingError(Code.INTERNAL, f"The server's answer is no {method.response.__name__}.") from error
