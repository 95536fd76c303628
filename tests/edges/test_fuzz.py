"""Whatever is sent to a public entry, the answer is a result or a native error, and the server lives on."""

from contextlib import suppress
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import Code
from services.edges.status import WIRE
from tests.serving import Server

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON | st.text(max_size=40) | st.lists(st.text(max_size=40), max_size=5),
        "model": JSON | st.sampled_from(["fake", "fake@1", "fake:x"]),
        "top_k": JSON | st.integers(-1, 3),
        "truncate": JSON | st.booleans(),
        "extra": JSON,
    },
)
TRANSLATIONS = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON | st.text(max_size=60) | st.lists(st.text(max_size=60), max_size=4),
        "target": JSON | st.sampled_from(["de", "en", "fr-FR", "xx"]),
        "source": JSON | st.sampled_from(["auto", "en", "de", ""]),
        "format": JSON | st.sampled_from(["text", "html"]),
        "preserve": JSON | st.lists(st.text(max_size=5), max_size=4),
        "glossary": JSON | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
        "beam_size": JSON | st.integers(0, 9),
        "alternatives": JSON | st.integers(-1, 8),
        "max_tokens": JSON | st.integers(0, 9),
        "alignment": JSON | st.booleans(),
    },
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-request-id", "x-request-timeout", "x-request-priority", "content-type", "content-encoding"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
fuzz = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(answer: Any) -> None:
    if answer.status_code == 200:
        assert answer.json()["results"]
        return
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert WIRE[Code(error["code"])].http == answer.status_code
    assert error["code"] != "INTERNAL"
    assert answer.headers["x-request-id"] == error["request_id"]


@given(body=REQUESTS | JSON)
@fuzz
async def test_any_json(server: Server, body: Any) -> None:
    check(await server.post("/v1/classify", body))


@given(body=TRANSLATIONS)
@fuzz
async def test_any_translation(server: Server, body: Any) -> None:
    check(await server.post("/v1/translate", body))


@given(
    text=st.text(st.sampled_from("a \n.,<>&;{}%1/\u0301\u200d\ue000-*#!|\u2028é")).filter(str.strip),
    markup=st.sampled_from(["text", "html"]),
    source=st.sampled_from(["auto", "en"]),
)
@fuzz
async def test_any_text_is_translated(server: Server, text: str, markup: str, source: str) -> None:
    answer = await server.post("/v1/translate", {"text": text, "target": "de", "format": markup, "source": source})
    assert answer.status_code == 200 or (source == "auto" and answer.status_code == 400), answer.text


@given(body=st.binary(max_size=300), headers=HEADERS)
@fuzz
async def test_any_bytes_and_headers(server: Server, body: bytes, headers: dict[str, str]) -> None:
    check(await server.rest.post("/v1/classify", content=body, headers=headers))


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=40))
@fuzz
async def test_any_path(server: Server, path: str) -> None:
    with suppress(httpx.InvalidURL):  # a path this client cannot even say
        answer = await server.rest.get(f"/{path}")
        assert answer.status_code < 500
