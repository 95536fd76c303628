"""Text generation as it is served on vLLM's stub: what the task does for it must not depend on the engine."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from services.core.adapters import AdapterLibrary
from services.core.catalog import BatchPolicy, ModelSpec
from services.core.inference import Loaded
from services.core.settings import Settings
from services.tasks.llm import TASK
from services.tasks.llm.adapters import LoadAdapterPipeline, UnloadAdapterPipeline
from services.tasks.llm.pipeline import GeneratePipeline
from tests.adapters import write_adapter
from tests.engines.vllm_stub import CONTEXT, POLICY, base, started, stubbed
from tests.serving import Server, free_grpc_port, free_port, running
from tests.tasks.llm.asking import body, client, load, settled, text

QUEUE = 64


@pytest.fixture(scope="module")
def stub() -> Iterator[Any]:
    with stubbed() as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm")
    base(folder / "model")
    for seed, name in enumerate(("red", "blue")):
        write_adapter(folder / "saved" / name, seed)
    write_adapter(folder / "saved" / "odd", 2, target_modules=["lm_head"])
    return folder


@pytest.fixture
async def server(stub: Any, home: Path, tmp_path: Path) -> AsyncIterator[Server]:
    spec = ModelSpec(
        task="llm",
        name="tiny",
        description="",
        default=True,
        engine="vllm",
        max_tokens=CONTEXT,
        max_adapter_rank=8,
        batch=BatchPolicy(queue_items=QUEUE),
        generation=POLICY,
        licence="none",
    )
    engine = started(home / "model")
    library = AdapterLibrary(tmp_path, (home / "saved",))
    loaded = [
        Loaded(spec, ("Generate", "StreamGenerate"), GeneratePipeline.load(spec, home / "model", engine, library)),  # type: ignore[arg-type]
        Loaded(spec, ("LoadAdapter",), LoadAdapterPipeline.load(spec, home / "model", engine, library)),
        Loaded(spec, ("UnloadAdapter",), UnloadAdapterPipeline.load(spec, home / "model", engine, library)),
    ]
    rest = free_port()
    settings = Settings(rest_port=rest, grpc_port=free_grpc_port(rest), home=tmp_path, drain_seconds=1)
    async with running([TASK], loaded, settings) as found:
        yield found
    assert stub.STARTED[-1].closed == 1


async def test_every_way_to_ask_says_the_same(server: Server) -> None:
    expected = await text(server)
    extra = {"ignore_eos": True}
    asked: Any = {"model": "tiny", "prompt": "hell", "max_tokens": 12, "temperature": 0, "extra_body": extra}
    answer = await client(server).completions.create(**asked)
    assert answer.choices[0].text == expected
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 12)  # type: ignore[union-attr]
    chunks = await client(server).completions.create(**asked, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in chunks]) == expected


async def test_adapters_come_and_go_while_serving(server: Server, home: Path) -> None:
    plain = await text(server)
    assert (await server.post("/v1/generate", body(model="tiny:red"))).status_code == 404
    for name in ("red", "blue"):
        assert (await load(server, home, name)).status_code == 200
    red, blue = await text(server, model="tiny:red"), await text(server, model="tiny:blue")
    assert len({plain, red, blue}) == 3
    assert (await load(server, home, "red", "blue", load_inplace=True)).status_code == 200
    assert await text(server, model="tiny:red") == blue
    assert await text(server, model="tiny:red@1") == red
    assert (await server.post("/v1/unload_lora_adapter", {"lora_name": "tiny:red"})).status_code == 200
    assert (await server.post("/v1/generate", body(model="tiny:red"))).status_code == 404


async def test_unloading_what_is_in_use_is_refused_unless_forced(stub: Any, server: Server, home: Path) -> None:
    await load(server, home, "red")
    stub.STARTED[-1].seconds = 0.01
    async with server.rest.stream("POST", "/v1/stream-generate", json=body(model="tiny:red", max_tokens=60)) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        assert (await server.post("/v1/unload-adapter", {"name": "red"})).status_code == 409
        forced = await server.post("/v1/unload-adapter", {"name": "red", "force": True})
        assert forced.json()["running"] == 1
        events = [line async for line in lines if line]
    assert events[-1] == "data: [DONE]"
    assert "error" not in events[-2]


async def test_an_adapter_that_vllm_refuses(server: Server, home: Path) -> None:
    await load(server, home, "odd")
    answer = await server.post("/v1/generate", body(model="tiny:odd"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "vLLM cannot run tiny@1:odd@1; use the base, or engine torch-lm."
    assert await text(server)


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}, "who": {"enum": ["me", "you"]}},
    "required": ["n", "who"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(4))
async def test_structured_output(server: Server, seed: int) -> None:
    answer = await client(server).chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "count"}],
        response_format={"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA}},
        seed=seed,
        max_tokens=150,
    )
    assert answer.choices[0].finish_reason == "stop"
    found = json.loads(answer.choices[0].message.content or "")
    assert 0 <= found["n"] <= 99
    assert found["who"] in ("me", "you")


async def test_stop_texts_seeds_and_answers(server: Server) -> None:
    whole = await text(server, max_tokens=40)
    stop = whole[10:13]
    answer = (await server.post("/v1/generate", body(max_tokens=40, stop=[stop]))).json()["choices"][0]
    assert (answer["text"], answer["finish_reason"]) == (whole[: whole.index(stop)], "stop")
    asked = body(n=3, seed=-1, temperature=1)
    first, second = [(await server.post("/v1/generate", asked)).json()["choices"] for _ in range(2)]
    assert first == second
    assert len({choice["text"] for choice in first}) == 3
    await settled(server)


async def test_nothing_ends_before_its_time(server: Server) -> None:
    """The model ends by chance, every four hundredth token or so."""
    fields = body(ignore_eos=False, min_tokens=200, max_tokens=250, temperature=1)
    answers = await asyncio.gather(*(server.post("/v1/generate", fields | {"seed": seed}) for seed in range(12)))
    for answer in answers:
        assert answer.json()["usage"]["completion_tokens"] >= 200


async def test_log_probabilities(server: Server) -> None:
    answer = await server.post("/v1/generate", body(logprobs=2, max_tokens=3))
    tokens = answer.json()["choices"][0]["logprobs"]
    assert [(token["logprob"], [one["logprob"] for one in token["top"]]) for token in tokens] == [
        (-1.0, [-0.5, -1.0])
    ] * 3


async def test_a_queue_of_64_and_200_streams_at_once(stub: Any, server: Server) -> None:
    stub.STARTED[-1].seconds = 0.005

    async def stream() -> int:
        events = await api.completions.create(
            model="tiny", prompt="hell", max_tokens=30, stream=True, extra_body={"ignore_eos": True}
        )
        return len([event async for event in events])

    async with client(server) as api:
        found = await asyncio.gather(*(stream() for _ in range(200)), return_exceptions=True)
    refused = [error for error in found if isinstance(error, openai.RateLimitError)]
    assert all(isinstance(one, int | openai.RateLimitError) for one in found)
    assert len(found) - len(refused) >= QUEUE
    assert refused
    assert all(error.response.headers["retry-after"] for error in refused)
    await settled(server)


async def test_clients_that_hang_up_leave_nothing(stub: Any, server: Server) -> None:
    core = stub.STARTED[-1]
    core.seconds = 0.002

    async def hang_up(number: int) -> None:
        fields = body(prompt=f"hell {number % 7}", max_tokens=200)
        async with server.rest.stream("POST", "/v1/stream-generate", json=fields) as stream:
            async for _ in stream.aiter_lines():
                break

    for _ in range(4):
        await asyncio.gather(*(hang_up(number) for number in range(25)))
    await settled(server)
    assert not core.requests


async def test_deadlines_and_an_engine_that_dies(stub: Any, server: Server) -> None:
    core = stub.STARTED[-1]
    core.seconds = 0.02
    assert (await server.rest.get("/readyz")).status_code == 200
    late = await server.post("/v1/generate", body(max_tokens=200), headers={"x-request-timeout": "0.2"})
    assert late.status_code == 408
    async with server.rest.stream("POST", "/v1/stream-generate", json=body(max_tokens=200)) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        core.die()
        events = [line async for line in lines if line]
    assert "UNAVAILABLE" in "".join(events)
    refused = await server.post("/v1/generate", body())
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    ready = await server.rest.get("/readyz")
    assert (ready.status_code, ready.json()["tasks"]) == (503, {"llm": False})
    await settled(server)


async def test_metrics_of_generating(server: Server) -> None:
    await text(server)
    lines = (await server.rest.get("/metrics")).text.splitlines()
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "tiny" in name}
    labels = '{model="tiny@1",task="llm"}'
    assert values[f"chorale_time_to_first_token_seconds_count{labels}"] == 1
    assert values[f"chorale_inter_token_seconds_count{labels}"] == 11
    assert values[f"chorale_queue_seconds_count{labels}"] == 1
