"""What only REST can get wrong: bytes, headers, routes, connections."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import TASKS, GatedEncoder, Server, serve

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"text": "a"} trailing',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud800"}',
        b'{"text": 1}',
        b'{"text": ["a", 2]}',
        b'{"text": {"a": 1}}',
        b'{"text": null}',
        b'{"text": "a", "top_k": "1"}',
        b'{"text": "a", "top_k": true}',
        b'{"text": "a", "truncate": 1}',
        b'{"text": "a", "model": 7}',
        b'{"text": "a", "nonsense": 1}',
        b"[" * 20_000,
        b'{"top_k": 1}',
    ],
)
async def test_malformed_bodies_are_refused(server: Server, body: bytes) -> None:
    answer = await server.rest.post("/v1/classify", content=body, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (400, "INVALID_ARGUMENT", "invalid_request_error")
    assert "Traceback" not in answer.text
    assert set(error) == {"message", "type", "param", "code", "request_id"}


async def test_the_error_names_the_field_or_index(server: Server) -> None:
    unknown = (await server.post("/v1/classify", {"text": "a", "nonsense": 1})).json()["error"]
    assert (unknown["param"], "nonsense" in unknown["message"]) == ("nonsense", True)
    wrong = (await server.post("/v1/classify", {"text": ["a", 2]})).json()["error"]
    assert wrong["param"] == "text[1]"


async def test_a_body_of_unknown_fields_is_refused_quickly_and_briefly(server: Server) -> None:
    many = {f"f{number}": 1 for number in range(9_000)}
    long = {"text": "a", "x" * 90_000: 1}
    for body in (many, long):
        answer = await server.post("/v1/classify", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_ARGUMENT")
        assert len(answer.content) < 1000


async def test_a_body_that_never_ends_meets_its_deadline(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.rest_port)
    writer.write(b"POST /v1/classify HTTP/1.1\r\nhost: x\r\nx-request-timeout: 0.1\r\ncontent-length: 500\r\n\r\n{")
    async with asyncio.timeout(10):
        assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_the_right_verb_is_named_and_slashes_do_not_redirect(server: Server) -> None:
    wrong = await server.rest.put("/v1/classify")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert (await server.post("/v1/classify/", {"text": "a"})).status_code == 404


async def test_refusals_are_counted_too(server: Server) -> None:
    await server.rest.post("/v1/classify", content=b"x", headers={"content-type": "text/plain"})
    lines = (await server.rest.get("/metrics")).text.splitlines()
    (count,) = [
        line
        for line in lines
        if line.startswith("chorale_request_seconds_count")
        and all(word in line for word in ('outcome="invalid"', 'protocol="rest"', 'task="classification"'))
    ]
    before = float(count.rsplit(" ", 1)[1])
    await server.rest.post("/v1/classify", content=b"x", headers={"content-type": "text/plain"})
    assert f"{count.rsplit(' ', 1)[0]} {before + 1}" in (await server.rest.get("/metrics")).text


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_other_media_are_refused(server: Server, content_type: str) -> None:
    answer = await server.rest.post("/v1/classify", content=b'{"text":"a"}', headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA")


async def test_compressed_bodies_are_refused_rather_than_misread(server: Server) -> None:
    answer = await server.rest.post("/v1/classify", content=b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"})
    assert answer.status_code == 415


async def test_oversized_bodies_are_cut_off(server: Server) -> None:
    async def endless() -> Any:
        for _ in range(1000):
            yield b"x" * 10_000

    known = await server.rest.post("/v1/classify", content=b"x" * 200_000, headers=JSON)
    chunked = await server.rest.post("/v1/classify", content=endless(), headers=JSON)
    assert known.status_code == chunked.status_code == 413
    assert known.json()["error"]["code"] == "TOO_LARGE"


@pytest.mark.parametrize(
    ("verb", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/classify", 405), ("POST", "/", 404)]
)
async def test_unknown_routes_answer_in_the_native_shape(server: Server, verb: str, path: str, status: int) -> None:
    answer = await server.rest.request(verb, path)
    assert answer.status_code == status
    assert "/v1/tasks" in answer.json()["error"]["message"]


async def test_request_ids_are_echoed_or_made(server: Server) -> None:
    given = await server.post("/v1/classify", {"text": "a"}, headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    for unfit in ("", "x" * 500):
        made = await server.post("/v1/classify", {"text": "a"}, headers={"x-request-id": unfit})
        assert made.headers["x-request-id"] not in ("", unfit)


async def test_pages(server: Server) -> None:
    pages = ("/healthz", "/readyz", "/v1/models", "/v1/tasks", "/openapi.json")
    answers = {page: (await server.rest.get(page)).json() for page in pages}
    assert answers["/readyz"] == {"ready": True, "tasks": dict.fromkeys((task.name for task in TASKS), True)}
    assert [model["id"] for model in answers["/v1/models"]["data"]] == ["fake@1", "echo@1", "letters@1"]
    classification = answers["/v1/tasks"]["tasks"][0]
    assert classification["models"] == ["fake@1"]
    for example in classification["examples"]:
        assert (await server.post(classification["methods"][0]["route"], example)).status_code == 200
    post = answers["/openapi.json"]["paths"]["/v1/classify"]["post"]
    examples = post["requestBody"]["content"]["application/json"]["examples"]
    assert examples["example-1"]["value"]["text"]


async def test_metrics_count_requests_by_outcome(server: Server) -> None:
    await server.post("/v1/classify", {"text": "good"})
    await server.post("/v1/classify", {"text": ""})
    exposition = (await server.rest.get("/metrics")).text
    for outcome in ("ok", "invalid"):
        assert any(
            line.startswith("chorale_request_seconds_count")
            and f'outcome="{outcome}"' in line
            and 'protocol="rest"' in line
            for line in exposition.splitlines()
        )
    assert 'chorale_inflight{protocol="rest",task="classification"} 0.0' in exposition


async def test_a_full_queue_answers_429_with_retry_after(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, policy(queue_items=4)) as server:
        running = asyncio.create_task(server.post("/v1/classify", {"text": "one"}))
        await asyncio.to_thread(engine.started.wait)
        waiting = asyncio.create_task(server.post("/v1/classify", {"text": ["a", "b", "c", "d"]}))
        while server.service.waiting < 4:
            await asyncio.sleep(0.01)
        refused = await server.post("/v1/classify", {"text": "too many"})
        engine.gate.set()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "OVERLOADED")
        assert int(refused.headers["retry-after"]) >= 1
        assert [answer.status_code for answer in await asyncio.gather(running, waiting)] == [200, 200]


async def test_a_deadline_is_kept_while_the_engine_is_busy(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, policy()) as server:
        running = asyncio.create_task(server.post("/v1/classify", {"text": "one"}))
        await asyncio.to_thread(engine.started.wait)
        late = await server.post("/v1/classify", {"text": "two"}, headers={"x-request-timeout": "0.05"})
        engine.gate.set()
        assert (late.status_code, late.json()["error"]["code"]) == (408, "DEADLINE_EXCEEDED")
        assert (await running).status_code == 200
    assert engine.ran == 1  # what had expired never ran


async def test_preparing_a_long_text_is_bounded_by_the_deadline(tmp_path: Path) -> None:
    from services.tasks.classification.pipeline import ClassifyPipeline

    release = threading.Event()
    original = ClassifyPipeline.prepare

    def slow(self: Any, request: Any) -> Any:
        if request.size > 5000:
            release.wait(30)
        return original(self, request)

    ClassifyPipeline.prepare = slow  # type: ignore[method-assign]
    try:
        async with serve(tmp_path) as server:
            body, hurry = {"text": "word " * 2000, "truncate": True}, {"x-request-timeout": "0.2"}
            late = await asyncio.gather(*(server.post("/v1/classify", body, headers=hurry) for _ in range(40)))
            assert {answer.status_code for answer in late} == {408, 429}
            assert (await server.post("/v1/classify", {"text": "short"})).status_code == 200
            release.set()
            assert (await server.post("/v1/classify", body)).status_code == 200
    finally:
        release.set()
        ClassifyPipeline.prepare = original  # type: ignore[method-assign]


async def test_calls_cut_by_the_drain_limit_are_unavailable(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with httpx.AsyncClient(timeout=20) as client:  # outlives the server
        async with serve(tmp_path, engine, policy(), drain_seconds=0.2) as server:
            url = f"{server.rest.base_url}/v1/classify"
            running = asyncio.create_task(client.post(url, json={"text": "one"}))
            await asyncio.to_thread(engine.started.wait)
            waiting = asyncio.create_task(client.post(url, json={"text": ["two", "three"]}))
            while server.service.waiting < 2:
                await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_later(0.6, engine.gate.set)
        assert (await running).status_code == 200
        cut = await waiting
    assert (cut.status_code, cut.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert cut.headers["retry-after"]


async def test_a_client_that_hangs_up_frees_its_place(tmp_path: Path) -> None:
    engine = GatedEncoder()
    async with serve(tmp_path, engine, policy()) as server:
        running = asyncio.create_task(server.post("/v1/classify", {"text": "one"}))
        await asyncio.to_thread(engine.started.wait)
        _, writer = await asyncio.open_connection("127.0.0.1", server.settings.rest_port)
        body = json.dumps({"text": ["a", "b", "c"]}).encode()
        head = f"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        while server.service.waiting < 3:
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while server.service.waiting:
                await asyncio.sleep(0.01)
        engine.gate.set()
        assert (await running).status_code == 200
        assert 'outcome="cancelled"' in (await server.rest.get("/metrics")).text
    assert engine.ran == 1


async def test_half_a_request_harms_nobody(server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.settings.rest_port)
    writer.write(b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await server.post("/v1/classify", {"text": "still here"})).status_code == 200


async def test_an_engine_failure_shows_an_id_and_nothing_else(tmp_path: Path) -> None:
    class Broken(GatedEncoder):
        def run(self, batch: Any) -> Any:
            raise RuntimeError("secret detail of the engine")

    async with serve(tmp_path, Broken(), policy()) as server:
        answer = await server.post("/v1/classify", {"text": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
        assert "secret" not in answer.text


def policy(**fields: Any) -> Any:
    from services.core.catalog import BatchPolicy

    return BatchPolicy(lanes=1, **fields)
