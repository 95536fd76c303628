"""The events of a streamed answer as a client reads them: its errors, its time, and its end. Knows no record."""

from collections.abc import Iterator

from services.clients.calls import Call
from services.core.errors import Code, ServingError
from services.edges.events import EventReader, failure


class Events:
    """Those of one call.

    Args:
        call: whose time they must come in.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._reader = EventReader()

    def feed(self, content: bytes) -> Iterator[bytes]:
        """The events that are whole now.

        Raises:
            ServingError: that an event tells of, or INTERNAL where it is none.
            TimeoutError: the call's time is over, and the answer is not.
        """
        try:
            for data in self._reader.feed(content):
                if error := failure(data):
                    raise error
                yield data
        except ValueError as error:
            raise ServingError(Code.INTERNAL, "The server's answer is no stream of events.") from error
        if self._call.is_over and not self._reader.is_done:
            raise TimeoutError

    def end(self) -> None:
        """No more comes; raises UNAVAILABLE if more should."""
        if not self._reader.is_done:
            raise ServingError(Code.UNAVAILABLE, "The connection was closed before the answer had ended.")
