"""What a client has to write on an HTTP/2 connection: requests, kept within the windows the server gives.

Knows no socket and no gRPC.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hpack import Encoder

from loadtests.bench import http2
from loadtests.bench.http2 import END_STREAM, FIRST_WINDOW, LARGEST_FRAME

Headers = Sequence[tuple[str, str]]

_HEADER_TABLE = 4096


@dataclass
class _Held:
    """What a stream has still to send, and how much the server lets it."""

    rest: bytes
    window: int


class Outbox:
    """Gathers frames until they are taken, to be written together.

    Every request has the same headers. The first one puts them into the server's table and the others refer to it,
    with a byte for each, as gRPC clients do.

    Args:
        headers: of every request.
    """

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._encoder = Encoder()
        self._block, self._later = self._encoder.encode(headers), self._encoder.encode(headers)
        self._parts: list[bytes] = []
        self._held: dict[int, _Held] = {}
        self._window = FIRST_WINDOW
        self._stream_window = FIRST_WINDOW

    def request(self, stream: int, body: bytes) -> None:
        """A whole request; what the windows have no room for is held."""
        self._parts.append(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, self._block))
        self._block = self._later
        size = len(body)
        if size and (self._held or size > min(self._window, self._stream_window, LARGEST_FRAME)):
            self._held[stream] = _Held(body, self._stream_window)
            self._release()
        else:
            self._window -= size
            self._parts.append(http2.frame(http2.DATA, END_STREAM, stream, body))

    def add(self, frame: bytes) -> None:
        """Any other frame."""
        self._parts.append(frame)

    def grant(self, stream: int, increment: int) -> None:
        """The server opens a window; stream 0 is the connection."""
        if not stream:
            self._window += increment
        elif held := self._held.get(stream):
            held.window += increment
        self._release()

    def change(self, settings: dict[int, int]) -> None:
        """The server has settings of its own, or new ones."""
        if settings.get(http2.HEADER_TABLE_SIZE, _HEADER_TABLE) < _HEADER_TABLE:
            self._encoder.header_table_size = 0  # from now on the headers are written out each time
            self._block, self._later = self._encoder.encode(self._headers), self._encoder.encode(self._headers)
        window = settings.get(http2.INITIAL_WINDOW, self._stream_window)
        for held in self._held.values():
            held.window += window - self._stream_window
        self._stream_window = window
        self._release()

    def forget(self, stream: int) -> None:
        """The stream has ended; should its request not be out yet, the server is told that no more comes."""
        if self._held.pop(stream, None):
            self._parts.append(http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL))

    def take(self) -> bytes:
        """All frames gathered."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

    def _release(self) -> None:
        for stream, held in [*self._held.items()]:
            while held.rest and (size := min(LARGEST_FRAME, self._window, held.window, len(held.rest))) > 0:
                piece, held.rest = held.rest[:size], held.rest[size:]
                self._window -= size
                held.window -= size
                self._parts.append(http2.frame(http2.DATA, 0 if held.rest else END_STREAM, stream, piece))
            if not held.rest:
                del self._held[stream]
