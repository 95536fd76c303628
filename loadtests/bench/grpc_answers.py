"""gRPC answers, made from the frames of one connection once the window has closed. Knows no socket and no clock."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from hpack import Decoder, HPACKError

from loadtests.bench.http2 import DATA, END_STREAM, HEADERS, RST_STREAM, Frame, error_name

_STATUS = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_PREFIX = 5


@dataclass(frozen=True)
class Answer:
    """One stream's.

    Args:
        message: not yet decoded.
        fault: why there is no message, or None.
    """

    stream: int
    message: bytes = b""
    fault: str | None = None


@dataclass
class _Stream:
    headers: dict[str, str] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)


class AnswerReader:
    """Reads a connection's DATA, HEADERS and RST_STREAM frames: all of them, in order, as header tables want it."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._streams: dict[int, _Stream] = {}
        self._broken = ""

    def read(self, frames: Iterable[Frame]) -> Iterator[Answer]:
        """The answers that end in these frames."""
        for kind, flags, number, payload in frames:
            stream = self._streams.setdefault(number, _Stream())
            if kind == HEADERS:
                self._add_headers(stream, payload)
            elif kind == DATA:
                stream.data.append(payload)
            if kind == RST_STREAM or flags & END_STREAM:
                del self._streams[number]
                yield self._answer(number, stream, payload if kind == RST_STREAM else None)

    def _add_headers(self, stream: _Stream, block: bytes) -> None:
        if not self._broken:
            try:
                stream.headers.update((str(name), str(value)) for name, value in self._decoder.decode(block))
            except HPACKError as error:
                self._broken = f"headers that cannot be read ({error!r})"  # nor can any later ones

    def _answer(self, number: int, stream: _Stream, reset: bytes | None) -> Answer:
        if reset is not None:
            return Answer(number, fault=f"the stream was reset: {error_name(int.from_bytes(reset, 'big'))}")
        body = b"".join(stream.data)
        if fault := self._broken or _wrong_status(stream.headers) or _wrong_framing(body):
            return Answer(number, fault=fault)
        return Answer(number, body[_PREFIX:])


def _wrong_status(headers: dict[str, str]) -> str | None:
    if headers.get(":status") != "200":
        return f"HTTP {headers.get(':status')} from a gRPC server"
    status = headers.get("grpc-status", "none")
    if status == "0":
        return None
    name = _STATUS[int(status)] if status.isdecimal() and int(status) < len(_STATUS) else f"status {status}"
    return f"gRPC {name}: {unquote(headers.get('grpc-message', ''))}"


def _wrong_framing(body: bytes) -> str | None:
    """What is wrong with a body that should be one message, not compressed, after a prefix."""
    if len(body) < _PREFIX or body[0] or int.from_bytes(body[1:_PREFIX], "big") != len(body) - _PREFIX:
        return f"not one plain message: {body[:40]!r}"
    return None
