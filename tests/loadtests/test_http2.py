"""HTTP/2 as the load generator speaks it: frames cut anywhere, windows kept to, answers read."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import http2
from loadtests.bench.grpc_answers import AnswerReader
from loadtests.bench.http2 import Frame, FrameReader, Http2Error, frame
from loadtests.bench.http2_outbox import Outbox

HEADERS = ((":method", "POST"), (":path", "/a.b.v1.C/D"), ("te", "trailers"))

OPENING, LAST = http2.END_HEADERS, http2.END_HEADERS | http2.END_STREAM


def padded(kind: int, flags: int, stream: int, payload: bytes, padding: int) -> bytes:
    body = bytes([padding]) + payload + b"\0" * padding
    return frame(kind, flags | http2.PADDED, stream, body)


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, tuple[int, int, bytes]]:
    """A frame in one of its forms, and the kind, stream and payload to be read."""
    kind = draw(st.sampled_from([http2.DATA, http2.HEADERS, http2.SETTINGS, http2.PING, http2.GOAWAY, 0xEE]))
    stream, payload = draw(st.integers(0, 2**31 - 1)), draw(st.binary(max_size=300))
    flags = draw(st.sampled_from([OPENING, LAST])) if kind == http2.HEADERS else draw(st.sampled_from([0, 1]))
    form = draw(st.sampled_from(["plain", "padded", "in pieces"]))
    if kind == http2.HEADERS and form == "in pieces":
        first = flags & ~http2.END_HEADERS | http2.PRIORITY
        raw = frame(kind, first, stream, b"12345" + payload[:7])
        raw += frame(http2.CONTINUATION, 0, stream, payload[7:20])
        raw += frame(http2.CONTINUATION, http2.END_HEADERS, stream, payload[20:])
    elif kind <= http2.HEADERS and form == "padded":
        raw = padded(kind, flags, stream, payload, draw(st.integers(0, 255)))
    else:
        raw = frame(kind, flags, stream, payload)
    return raw, (kind, stream, payload)


@given(st.lists(written(), max_size=8), st.data())
def test_frames_are_the_same_wherever_they_are_cut(frames: list[tuple[bytes, tuple[int, int, bytes]]], data) -> None:
    stream = b"".join(raw for raw, _ in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader, found = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert [(kind, number, payload) for kind, _, number, payload in found] == [expected for _, expected in frames]
    assert reader.flow >= sum(len(payload) for kind, _, payload in (e for _, e in frames) if kind == http2.DATA)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_anything_else_is_told(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            for kind, _, _, payload in reader.feed(piece):
                read = {http2.SETTINGS: http2.read_settings, http2.GOAWAY: http2.read_goaway}
                read.get(kind, http2.read_number)(payload)
    except Http2Error as error:
        assert str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(http2.HEADERS, 0, 1, b"") + frame(http2.DATA, 0, 1, b""),
        frame(http2.HEADERS, 0, 1, b"") + frame(http2.CONTINUATION, http2.END_HEADERS, 3, b""),
        frame(http2.CONTINUATION, http2.END_HEADERS, 1, b""),
        frame(http2.DATA, http2.PADDED, 1, b"\x05abc"),
        frame(http2.HEADERS, 0, 1, b"") + frame(http2.CONTINUATION, 0, 1, b"x" * 16384) * 70,
    ],
)
def test_broken_frames_are_told(data: bytes) -> None:
    with pytest.raises(Http2Error):
        FrameReader().feed(data)


@given(
    st.lists(st.integers(0, 40_000), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 30_000)), max_size=30),
    st.sampled_from([0, 10, 16_384, 65_535, 1 << 20]),
)
def test_requests_keep_to_the_windows_and_arrive_whole(
    sizes: list[int], grants: list[tuple[int, int]], first: int
) -> None:
    outbox, reader, decoder = Outbox(HEADERS), FrameReader(), Decoder()
    bodies = {2 * number + 1: bytes([number]) * size for number, size in enumerate(sizes)}
    windows = {0: http2.FIRST_WINDOW, **dict.fromkeys(bodies, first)}
    got: dict[int, bytes] = {}
    ended: set[int] = set()

    def receive() -> None:
        for kind, flags, stream, payload in reader.feed(outbox.take()):
            if kind == http2.HEADERS:
                assert tuple(decoder.decode(payload)) == HEADERS
                got[stream] = b""
            else:
                got[stream] += payload
                windows[0] -= len(payload)
                windows[stream] -= len(payload)
            if flags & http2.END_STREAM:
                ended.add(stream)
        assert min(windows.values()) >= 0

    outbox.change({http2.INITIAL_WINDOW: first})
    for stream, body in bodies.items():
        outbox.request(stream, body)
        receive()
    for number, increment in [*grants, (0, 1 << 20), *((number + 1, 1 << 20) for number in range(len(sizes)))]:
        stream = 2 * number - 1 if number else 0
        windows[stream] = windows.get(stream, 0) + increment
        outbox.grant(stream, increment)
        receive()
    assert got == bodies
    assert ended == set(bodies)


def test_a_smaller_first_window_takes_back_what_was_given() -> None:
    outbox = Outbox(HEADERS)
    outbox.change({http2.INITIAL_WINDOW: 100})
    outbox.request(1, b"x" * 150)
    outbox.change({http2.INITIAL_WINDOW: 60})
    outbox.grant(1, 40)
    sent = FrameReader()
    assert [len(payload) for kind, _, _, payload in sent.feed(outbox.take()) if kind == http2.DATA] == [100]
    outbox.grant(1, 50)
    assert [len(payload) for _, _, _, payload in sent.feed(outbox.take())] == [50]


def test_later_requests_refer_to_the_first_unless_the_server_has_no_table() -> None:
    outbox, reader, decoder = Outbox(HEADERS), FrameReader(), Decoder()
    sizes = []
    for stream in (1, 3, 5, 7, 9):
        if stream == 7:
            outbox.change({http2.HEADER_TABLE_SIZE: 0})
            decoder.max_allowed_table_size = 0
        outbox.request(stream, b"")
        (_, _, _, block), _ = reader.feed(outbox.take())
        assert tuple(decoder.decode(block)) == HEADERS
        sizes.append(len(block))
    assert sizes[1] == sizes[2] == len(HEADERS)
    assert min(sizes[3:]) > sizes[1]


def test_a_request_that_is_refused_before_it_is_sent_is_called_off() -> None:
    outbox = Outbox(HEADERS)
    outbox.change({http2.INITIAL_WINDOW: 5})
    outbox.request(1, b"x" * 10)
    outbox.take()
    outbox.forget(1)
    outbox.grant(1, 100)
    assert outbox.take() == frame(http2.RST_STREAM, 0, 1, http2.CANCEL)


class Answers:
    """Frames of a server, with a header table as servers keep it."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.frames: list[Frame] = []

    def headers(self, stream: int, *headers: tuple[str, str], last: bool = False) -> None:
        self.frames.append((http2.HEADERS, LAST if last else OPENING, stream, self.encoder.encode(headers)))

    def data(self, stream: int, data: bytes) -> None:
        self.frames.append((http2.DATA, 0, stream, data))

    def whole(self, stream: int, data: bytes, status: str = "0") -> None:
        self.headers(stream, (":status", "200"), ("content-type", "application/grpc"))
        self.data(stream, data)
        self.headers(stream, ("grpc-status", status), ("x-request-id", f"id {stream}"), last=True)


def test_interleaved_answers_are_read() -> None:
    server = Answers()
    server.headers(1, (":status", "200"), ("x-kept", "a"))
    server.whole(3, b"\0\0\0\0\x02ab")
    server.data(1, b"\0\0\0\0\x03c")
    server.data(1, b"de")
    server.headers(1, ("grpc-status", "0"), ("x-kept", "a"), last=True)
    reader = AnswerReader()
    found = [answer for part in (server.frames[:5], server.frames[5:]) for answer in reader.read(part)]
    assert [(answer.stream, answer.message, answer.fault) for answer in found] == [(3, b"ab", None), (1, b"cde", None)]


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\x02a", b"\0\0\0\0\x02abc", b"\1\0\0\0\x02ab", b"\0\0\0\0\0" * 2])
def test_bodies_that_are_not_one_message(body: bytes) -> None:
    server = Answers()
    server.whole(1, body)
    (answer,) = AnswerReader().read(server.frames)
    assert "not one plain message" in (answer.fault or "")


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ([(":status", "503")], "HTTP 503"),
        ([(":status", "200")], "gRPC status none"),
        ([(":status", "200"), ("grpc-status", "99")], "gRPC status 99"),
        (
            [(":status", "200"), ("grpc-status", "3"), ("grpc-message", "50%25 \u00fc".replace("\u00fc", "%C3%BC"))],
            "gRPC INVALID_ARGUMENT: 50% ü",
        ),
        ([(":status", "200"), ("grpc-status", "14")], "gRPC UNAVAILABLE"),
        ([("grpc-status", "0")], "HTTP None"),
    ],
)
def test_statuses_are_told(headers: list[tuple[str, str]], fault: str) -> None:
    server = Answers()
    server.headers(1, *headers, last=True)
    (answer,) = AnswerReader().read(server.frames)
    assert fault in (answer.fault or "")


def test_a_header_block_that_cannot_be_read_spoils_all_that_follow() -> None:
    server = Answers()
    server.whole(1, b"\0\0\0\0\0")
    server.frames.append((http2.HEADERS, OPENING, 3, b"\xff\xff\xff\xff\xff"))
    server.frames.append((http2.DATA, http2.END_STREAM, 3, b""))
    server.whole(5, b"\0\0\0\0\0")
    faults = [answer.fault for answer in AnswerReader().read(server.frames)]
    assert faults[0] is None
    assert all("cannot be read" in (fault or "") for fault in faults[1:])
    assert len(faults) == 3


def test_errors_have_names() -> None:
    assert http2.error_name(8) == "CANCEL"
    assert http2.error_name(99) == "error 99"
