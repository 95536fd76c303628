"""HTTP/2 frames, as a client needs them (RFC 9113): read from a stream of bytes, and written.

Knows no socket and no gRPC, and leaves header blocks as they are.
"""

from struct import Struct, error

Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload. Of a header block in several frames the reader makes one; padding is taken off."""

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW = 1, 2, 3, 4
CANCEL = (8).to_bytes(4, "big")
"""Payload of RST_STREAM."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_FRAME = 16384
"""Largest payload, in both directions: nobody asks for more."""
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65535
"""Every window, until the other side says otherwise."""
LARGEST_BLOCK = 1 << 20
"""Largest header block that is read."""

_HEAD = Struct(">HBBBL")
_SETTING = Struct(">HL")
_NUMBER = Struct(">L")
_PAIR = Struct(">LL")
_ERRORS = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
    *("INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)
_PLAIN = {(DATA, 0), (DATA, END_STREAM), (HEADERS, END_HEADERS), (HEADERS, END_HEADERS | END_STREAM)}
"""Kinds and flags of the frames that are taken as they are: nearly all."""


class Http2Error(Exception):
    """The other side does not speak HTTP/2 as it should."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def read_settings(payload: bytes) -> dict[int, int]:
    """Raises Http2Error."""
    try:
        return dict(_SETTING.iter_unpack(payload))
    except error as wrong:
        raise Http2Error(f"SETTINGS of {len(payload)} bytes") from wrong


def read_number(payload: bytes) -> int:
    """Of WINDOW_UPDATE and RST_STREAM. Raises Http2Error."""
    if len(payload) != 4:
        raise Http2Error(f"4 bytes expected, {len(payload)} came")
    return int.from_bytes(payload, "big") & LARGEST_WINDOW


def read_goaway(payload: bytes) -> tuple[int, str]:
    """The last stream that will be answered, and why no other. Raises Http2Error."""
    if len(payload) < 8:
        raise Http2Error(f"GOAWAY of {len(payload)} bytes")
    last, code = _PAIR.unpack_from(payload)
    return last & LARGEST_WINDOW, f"{error_name(code)} {payload[8:200].decode(errors='replace')}".strip()


def error_name(code: int) -> str:
    """Of RST_STREAM and GOAWAY."""
    return _ERRORS[code] if code < len(_ERRORS) else f"error {code}"


class FrameReader:
    """Cuts what a connection receives into frames, wherever the pieces begin and end."""

    def __init__(self) -> None:
        self._rest = b""
        self._block: Frame | None = None  # a header block of which more is to come
        self.flow = 0
        """Bytes of DATA so far, padding included: what the connection's window has lost."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Raises Http2Error, and nothing after it can be read."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, last = 0, len(data) - 9
        while at <= last:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if end - at - 9 > LARGEST_FRAME:
                raise Http2Error(f"no HTTP/2, or a frame past {LARGEST_FRAME} bytes: {data[at : at + 40]!r}")
            if end > len(data):
                break
            payload = data[at + 9 : end]
            at = end
            if kind == DATA:
                self.flow += len(payload)
            if (kind, flags) in _PLAIN and not self._block:
                frames.append((kind, flags, stream & LARGEST_WINDOW, payload))
            else:
                frames += self._special((kind, flags, stream & LARGEST_WINDOW, payload))
        self._rest = data[at:]
        return frames

    def _special(self, found: Frame) -> list[Frame]:
        """Nothing, while a header block is not whole."""
        kind, flags, stream, payload = found
        if (self._block is not None) != (kind == CONTINUATION):
            raise Http2Error("a header block is broken off, or continued without a beginning")
        if self._block:
            kind, first_flags, first_stream, begun = self._block
            if first_stream != stream or len(begun) > LARGEST_BLOCK:
                raise Http2Error("a header block is continued on another stream, or endless")
            found = (kind, first_flags | flags & END_HEADERS, stream, begun + payload)
        elif kind <= HEADERS:
            found = (kind, flags, stream, _bare(kind, flags, payload))
        self._block = found if kind == HEADERS and not found[1] & END_HEADERS else None
        return [] if self._block else [found]


def _bare(kind: int, flags: int, payload: bytes) -> bytes:
    """Without padding and priority."""
    front, back = 0, 0
    if flags & PADDED and payload:
        front, back = 1, payload[0]
    if kind == HEADERS and flags & PRIORITY:
        front += 5
    if front + back > len(payload):
        raise Http2Error("more padding than frame")
    return payload[front : len(payload) - back]
