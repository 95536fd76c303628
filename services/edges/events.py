"""A stream of answers over HTTP: server-sent events, one record each as JSON, and `DONE` at its end.

What OpenAI's clients read. An error in the middle of a stream is an event with the native error body; without `DONE` a
stream was cut. Both sides know it: servers write it, clients and gateways read it. Knows no record.
Source: WHATWG HTML, "Server-sent events"; of it only ``data`` lines, one per event.
"""

from collections.abc import Iterator

from services.core.errors import ServingError
from services.edges.status import read_error

MEDIA = "text/event-stream"

DONE = b"[DONE]"

_FIELD = b"data: "
_END = b"\n\n"

LONGEST = 64 * 1024 * 1024
"""Bytes of one event; a server that sends more without an end is none of ours."""


def event(data: bytes) -> bytes:
    """The wire form of one event. JSON has no raw newline in it."""
    return b"%s%s%s" % (_FIELD, data, _END)


class EventReader:
    """Cuts what comes in into events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.is_done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that are whole now, until `DONE`.

        Raises:
            ValueError: this is no such stream.
        """
        looked = max(0, len(self._rest) - len(_END) + 1)
        self._rest += data
        while (end := self._rest.find(_END, looked)) >= 0 and not self.is_done:
            line = bytes(self._rest[:end])
            del self._rest[: end + len(_END)]
            looked = 0
            if not line.startswith(_FIELD):
                raise ValueError("not an event")
            if (found := line[len(_FIELD) :]) == DONE:
                self.is_done = True
            else:
                yield found
        if len(self._rest) > LONGEST:
            raise ValueError("an event without end")


def failure(data: bytes) -> ServingError | None:
    """The error that an event tells of, if it does."""
    return read_error(data, None) if data.startswith(b'{"error":') else None
