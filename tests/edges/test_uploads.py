"""Forms with a file: what they bring, alike by every spelling; what is wrong with them; and what large ones cost."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import Code, ServingError
from services.edges.multipart import MAX_FIELDS, SMALL, read_parts
from tests.relay import RELAY, RelayPipeline, serve_relay, until
from tests.served.relay.dialect import TOLD
from tests.serving import Server

LIMIT = 8 * SMALL


@pytest.fixture(scope="module")
async def relay() -> AsyncIterator[tuple[Server, RelayPipeline]]:
    async with serve_relay(max_upload_bytes=LIMIT, max_request_bytes=100_000) as running:
        yield running


@pytest.fixture
def server(relay: tuple[Server, RelayPipeline]) -> Server:
    return relay[0]


async def send(server: Server, content: bytes = b"sound", called: str = "data", /, **fields: Any) -> httpx.Response:
    return await server.rest.post(RELAY.route, files={called: ("a.wav", content, "audio/wav")}, data=fields)


FIELDS = {"words": ["one", "two"], "factor": 1.5, "loud": True, "tone": "soft", "model": "relay"}


@pytest.mark.parametrize("name", ["data", "file"])
@pytest.mark.parametrize(
    "fields",
    [
        {"words": ["one", "two"], "factor": "1.5", "loud": "true", "tone": "soft", "model": "relay"},
        {"words[]": ["one", "two"], "factor": "15e-1", "loud": "true", "tone": "soft", "model": "relay@1"},
        {"request": json.dumps(FIELDS)},
    ],
    ids=["repeated", "brackets", "as JSON"],
)
async def test_every_spelling_is_the_same_request(server: Server, name: str, fields: dict[str, Any]) -> None:
    answer = await send(server, b"sound", name, **fields)
    as_json = await server.post(RELAY.route, {**FIELDS, "data": "c291bmQ="})
    assert answer.json() == as_json.json()
    assert answer.json()["parts"][0]["words"] == ["one", "two"]
    assert answer.json()["parts"][0]["sum"] == zlib.crc32(b"sound")


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL + 7])
async def test_a_file_comes_whole_and_a_large_one_is_not_in_memory(server: Server, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (part,) = (await send(server, data[:size])).json()["parts"]
    assert (part["size"], part["sum"]) == (size, zlib.crc32(data[:size]))
    assert part["mapped"] == (size > SMALL)
    await until(lambda: not mapped_files())


def mapped_files() -> list[str]:
    return [
        one.path
        for one in psutil.Process().memory_maps(grouped=False)
        if "(deleted)" in one.path and "/tmp" in one.path
    ]


@pytest.mark.parametrize(
    ("written", "media", "said"), [("json", "application/json", b'{"sizes": 5}'), ("text", "text/plain", b"5 bytes")]
)
async def test_dialects_take_forms_too_and_say_what_they_answer(
    server: Server, written: str, media: str, said: bytes
) -> None:
    form = await server.rest.post(TOLD.route, files={"file": b"sound"}, data={"response_format": written})
    body = await server.post(TOLD.route, {"text": "sound", "response_format": written})
    for answer in (form, body):
        assert (answer.status_code, answer.headers["content-type"].split(";")[0], answer.content) == (200, media, said)
    wrong = await server.rest.post(TOLD.route, files={"file": b"sound"}, data={"speed": "2"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "speed")


BAD = {
    "unknown field": ({"speed": "2"}, "data", "speed"),
    "no boolean": ({"loud": "True"}, "data", "loud"),
    "a number for a boolean": ({"loud": "1"}, "data", "loud"),
    "no number": ({"factor": "fast"}, "data", "factor"),
    "no whole number": ({"times": "1.5"}, "data", "times"),
    "a number out of range": ({"times": "0"}, "data", "times"),
    "no such choice": ({"tone": "shrill"}, "data", "tone"),
    "a scalar twice": ({"times": ["1", "2"]}, "data", "times"),
    "both spellings": ({"words": "a", "words[]": "b"}, "data", "words"),
    "blank text in a list": ({"words": ["a", " "]}, "data", "words[1]"),
    "the file as text": ({"data": "abc"}, "file", "data"),
    "a file of another name": ({}, "sound", "sound"),
    "request is no JSON": ({"request": "{"}, "data", "request"),
    "request is no object": ({"request": "[]"}, "data", "request"),
    "request and fields": ({"request": "{}", "loud": "true"}, "data", "request"),
    "request twice": ({"request": ["{}", "{}"]}, "data", "request"),
    "request with the bytes": ({"request": '{"data": "YWJj"}'}, "data", "data"),
    "a bad field in request": ({"request": '{"times": "2"}'}, "data", "times"),
    "text over its limit": ({"tone": "x" * 70_000}, "data", "tone"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_is_named(server: Server, case: str) -> None:
    fields, name, param = BAD[case]
    answer = await send(server, b"sound", name, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "INVALID_ARGUMENT", param)
    assert error["message"].startswith(f"{param}: ")


async def raw(server: Server, body: bytes, kind: str = "multipart/form-data; boundary=x") -> dict[str, Any]:
    answer = await server.rest.post(RELAY.route, content=body, headers={"content-type": kind})
    error: dict[str, Any] = answer.json()["error"]
    return error


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    more = f'; filename="{filename}"' if filename is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--x--\r\n"


@pytest.mark.parametrize(
    ("body", "words", "param"),
    [
        (part("tone", b"soft") + END, "send a file", "file"),
        (part("data", b"a", "a") + part("more", b"b", "b") + END, "a second file", "more"),
        (part("data", b"a", "a"), "before its last boundary", None),
        (part("data", b"a", "a")[:40], "before its last boundary", None),
        (b"", "before its last boundary", None),
        (b"--y\r\n\r\n" + END, "cannot be read", None),
        (b"nonsense", "cannot be read", None),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n" + END, "needs a name", None),
        (b"--x\r\n" + b"X: y\r\n" * 100 + b"\r\na\r\n" + END, "cannot be read", None),
        (part("data", b"a", "a") + part("tone", b"\xff") + END, "UTF-8", "tone"),
        (b"".join(part(f"f{n}", b"") for n in range(MAX_FIELDS + 1)) + END, "over 64 parts", f"f{MAX_FIELDS}"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_broken_forms(server: Server, body: bytes, words: str, param: str | None) -> None:
    error = await raw(server, body)
    assert (error["code"], error["param"], words in error["message"]) == ("INVALID_ARGUMENT", param, True), error


async def test_a_form_needs_its_boundary_and_no_encoding(server: Server) -> None:
    assert "boundary" in (await raw(server, END, "multipart/form-data"))["message"]
    answer = await server.rest.post(
        RELAY.route,
        content=b"",
        headers={"content-type": "multipart/form-data; boundary=x", "content-encoding": "gzip"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA")
    assert "form" in (await raw(server, b"RIFF", "audio/wav"))["message"]


async def test_routes_without_a_file_take_no_forms(server: Server) -> None:
    answer = await server.rest.post("/v1/nothing", files={"data": b"a"})
    assert answer.status_code == 404


@pytest.mark.parametrize("known", [True, False], ids=["told beforehand", "found out"])
async def test_too_large_a_form_is_refused(server: Server, known: bool) -> None:
    whole = part("data", b"x" * (LIMIT + 1), "a") + END

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), SMALL):
            yield whole[start : start + SMALL]

    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = await server.rest.post(RELAY.route, content=whole if known else pieces(), headers=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")
    assert str(LIMIT) in answer.json()["error"]["message"]
    await until(lambda: not mapped_files())


async def test_a_json_body_keeps_its_own_limit(server: Server) -> None:
    answer = await server.post(RELAY.route, {"data": "x" * 200_000})
    assert answer.json()["error"]["code"] == "TOO_LARGE"


async def test_who_hangs_up_half_way_leaves_nothing(relay: tuple[Server, RelayPipeline]) -> None:
    server, pipeline = relay
    before = open_files()
    _, writer = await asyncio.open_connection("127.0.0.1", server.settings.rest_port)
    head = f"POST {RELAY.route} HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n"
    writer.write(head.encode() + b"content-length: 5000000\r\n\r\n" + part("data", b"x" * 2 * SMALL, "a"))
    await writer.drain()
    await until(lambda: open_files() > before)
    writer.close()
    await until(lambda: open_files() == before)
    assert pipeline.talks == 0


def open_files() -> int:
    return sum("(deleted)" in str(link.readlink()) for link in links())


def links() -> Iterator[Path]:
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink():
            yield link


async def pieces_of(body: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    for start, end in pairwise(places):
        yield body[start:end]


@given(data=st.binary(max_size=300), word=st.text(max_size=50), cuts=st.lists(st.integers(0, 10_000), max_size=8))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_where_the_network_cuts_a_form_makes_no_difference(data: bytes, word: str, cuts: list[int]) -> None:
    form = httpx.Request("POST", "http://x", files={"data": ("ü.wav", data)}, data={"word": [word, "b"]})
    content = form.read()
    found = await read_parts(form.headers["content-type"], pieces_of(content, cuts))  # type: ignore[arg-type]
    assert (found.file, found.part, found.filename) == (data, "data", "ü.wav")
    assert found.fields == {"word": (word, "b")}


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 300), max_size=4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_crash_the_reader(body: bytes, cuts: list[int]) -> None:
    with pytest.raises(ServingError) as caught:
        await read_parts("multipart/form-data; boundary=x", pieces_of(b"--x\r\n" + body, cuts))  # type: ignore[arg-type]
    assert caught.value.code is Code.INVALID_ARGUMENT
