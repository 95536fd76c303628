"""Text generation as it is served: the torch engine, adapters and all, behind REST, gRPC and OpenAI's client."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import openai
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from services.core.adapters import AdapterLibrary
from services.core.catalog import BatchPolicy, GenerationPolicy, ModelSpec
from services.core.engine import EngineOptions
from services.core.inference import Loaded
from services.core.settings import Settings
from services.edges.protobuf import message_class
from services.engines.torch_lm.engine import TorchGenerator
from services.tasks.llm import GENERATE, STREAM_GENERATE, TASK
from services.tasks.llm.adapters import LoadAdapterPipeline, UnloadAdapterPipeline
from services.tasks.llm.pipeline import GeneratePipeline
from tests.serving import Server, free_grpc_port, free_port, running
from tests.tasks.llm.asking import body, client, load, settled, text
from tests.tasks.llm.fakes import END, SIZE, artefact

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning"),  # peft's
    pytest.mark.timeout(300),
]

QUEUE = 64
CONTEXT = 256


def checkpoint(folder: Path) -> Path:
    """A random Llama that hardly ever ends by itself."""
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=END,
    )
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    artefact(folder, "byte-level")
    model.save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path, seed: int = 1, rank: int = 4) -> Path:
    """What peft saves."""
    torch.manual_seed(seed)
    model = get_peft_model(
        transformers.LlamaForCausalLM.from_pretrained(base), LoraConfig(r=rank, target_modules="all-linear")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm")
    checkpoint(folder / "model")
    for seed, name in enumerate(("red", "blue", "other-red")):
        adapter(folder / "model", folder / "saved" / name, seed)
    return folder


@pytest.fixture
async def server(home: Path, tmp_path: Path) -> AsyncIterator[Server]:
    policy = GenerationPolicy(sequences=16, block_tokens=8, cache_mib=8, step_tokens=64)
    spec = ModelSpec(
        task="llm",
        name="tiny",
        description="",
        default=True,
        engine="torch-lm",
        max_tokens=CONTEXT,
        max_adapter_rank=8,
        batch=BatchPolicy(queue_items=QUEUE),
        generation=policy,
        licence="none",
    )
    engine = TorchGenerator.load(home / "model", EngineOptions(1, 2, generation=policy))
    library = AdapterLibrary(tmp_path, (home / "saved",))
    loaded = [
        Loaded(spec, ("Generate", "StreamGenerate"), GeneratePipeline.load(spec, home / "model", engine, library)),  # type: ignore[arg-type]
        Loaded(spec, ("LoadAdapter",), LoadAdapterPipeline.load(spec, home / "model", engine, library)),
        Loaded(spec, ("UnloadAdapter",), UnloadAdapterPipeline.load(spec, home / "model", engine, library)),
    ]
    rest = free_port()
    settings = Settings(rest_port=rest, grpc_port=free_grpc_port(rest), home=tmp_path, drain_seconds=2)
    async with running([TASK], loaded, settings) as found:
        yield found


async def test_every_way_to_ask_says_the_same(server: Server) -> None:
    expected = await text(server)
    request, part = (message_class(TASK, record) for record in (GENERATE.request, STREAM_GENERATE.response))
    message = request(**body()).SerializeToString()
    whole = message_class(TASK, GENERATE.response).FromString(await server.rpc(TASK.rpc(GENERATE), message))
    assert whole.choices[0].text == expected  # type: ignore[attr-defined]
    stream = server.channel.unary_stream(TASK.rpc(STREAM_GENERATE))(message)
    assert "".join([part.FromString(data).text async for data in stream]) == expected  # type: ignore[attr-defined]
    extra = {"ignore_eos": True}
    asked: Any = {"model": "tiny", "prompt": "hell", "max_tokens": 12, "temperature": 0, "extra_body": extra}
    assert (await client(server).completions.create(**asked)).choices[0].text == expected
    chunks = await client(server).completions.create(**asked, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in chunks]) == expected


async def test_adapters_come_go_and_change_while_serving(server: Server, home: Path) -> None:
    plain = await text(server)
    assert (await server.post("/v1/generate", body(model="tiny:red"))).status_code == 404
    assert (await load(server, home, "red")).text == "Success: LoRA adapter 'red' added successfully."
    assert (await load(server, home, "blue")).status_code == 200
    red, blue = await text(server, model="tiny:red"), await text(server, model="tiny:blue")
    assert len({plain, red, blue}) == 3
    models = (await server.rest.get("/v1/models")).json()["data"]
    assert [card["id"] for card in models] == ["tiny@1", "tiny@1:blue@1", "tiny@1:red@1"]

    assert (await load(server, home, "red")).status_code == 200  # the same once more
    assert (await load(server, home, "red", "other-red")).status_code == 409
    assert (await load(server, home, "red", "other-red", load_inplace=True)).status_code == 200
    other = await text(server, model="tiny:red")
    assert other not in (red, plain)
    assert await text(server, model="tiny:red@1") == red

    assert (await server.post("/v1/unload_lora_adapter", {"lora_name": "tiny:red"})).status_code == 200
    answer = await server.post("/v1/generate", body(model="tiny:red"))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"
    assert await text(server, model="tiny:blue") == blue


async def test_mixed_company_changes_no_answer(server: Server, home: Path) -> None:
    for name in ("red", "blue"):
        await load(server, home, name)
    asked = [
        {"model": f"tiny{adapter}", "prompt": prompt, "max_tokens": 20}
        for prompt in ("hell", "a", "hello hello hello hello", "xyz")
        for adapter in ("", ":red", ":blue", ":red@1")
    ]
    alone = [await text(server, **one) for one in asked]
    assert await asyncio.gather(*(text(server, **one) for one in asked)) == alone


async def test_unloading_what_is_in_use_is_refused_unless_forced(server: Server, home: Path) -> None:
    await load(server, home, "red")
    async with server.rest.stream("POST", "/v1/stream-generate", json=body(model="tiny:red", max_tokens=200)) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        refused = await server.post("/v1/unload-adapter", {"name": "red"})
        assert refused.status_code == 409
        assert "1 sequences run" in refused.json()["error"]["message"]
        forced = await server.post("/v1/unload-adapter", {"name": "red", "force": True})
        assert forced.json()["running"] == 1
        assert (await server.post("/v1/generate", body(model="tiny:red"))).status_code == 404
        events = [line async for line in lines if line]
    assert events[-1] == "data: [DONE]"
    assert "error" not in events[-2]


async def test_a_queue_of_64_and_200_streams_at_once(server: Server) -> None:
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


async def test_clients_that_hang_up_leave_nothing(server: Server) -> None:
    async def hang_up(number: int) -> None:
        fields = body(prompt=f"hell {number % 7}", max_tokens=200)
        async with server.rest.stream("POST", "/v1/stream-generate", json=fields) as stream:
            async for _ in stream.aiter_lines():
                break

    for _ in range(4):
        await asyncio.gather(*(hang_up(number) for number in range(25)))
    await settled(server)


async def test_metrics_of_generating(server: Server) -> None:
    await text(server)
    lines = (await server.rest.get("/metrics")).text.splitlines()
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "tiny" in name}
    labels = '{model="tiny@1",task="llm"}'
    assert values[f"chorale_time_to_first_token_seconds_count{labels}"] == 1
    assert values[f"chorale_inter_token_seconds_count{labels}"] == 11
    kinds = {name: value for name, value in values.items() if name.startswith("chorale_tokens_total")}
    assert sorted(kinds.values()) == [2, 12]


async def test_structured_output(server: Server) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}},
        "required": ["n"],
    }
    schema["additionalProperties"] = False
    answer = await client(server).chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "count"}],
        response_format={"type": "json_schema", "json_schema": {"name": "count", "schema": schema}},
        seed=3,
        max_tokens=150,
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert isinstance(found["n"], int)


def formatted(schema: str) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": schema}, "ignore_eos": False}


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"prompt": "x" * 300}, 400, "prompt"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 10**6}, 400, "max_tokens"),
        ({"temperature": -0.1}, 400, "temperature"),
        ({"prompt": None, "messages": []}, 400, None),
        ({"prompt": None, "messages": [{"role": "judge", "content": "x"}]}, 400, "messages[0].role"),
        ({"response_format": {"type": "json_schema", "json_schema": "{"}}, 400, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": '{"type": 3}'}},
            400,
            "response_format.json_schema",
        ),
        ({"stop": ["x"] * 100}, 400, "stop"),
        ({"model": "tiny:../../red"}, 400, "model"),
        ({"model": "tiny:red"}, 404, "model"),
        ({"model": "other"}, 404, "model"),
        ({"model": "other:red"}, 404, "model"),
    ],
)
async def test_bad_input(server: Server, fields: dict[str, Any], status: int, param: str | None) -> None:
    answer = await server.post(
        "/v1/generate", {key: value for key, value in body(**fields).items() if value is not None}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


async def test_bad_adapters(server: Server, home: Path) -> None:
    saved = home / "saved"
    adapter(home / "model", saved / "wide", rank=16)
    (saved / "pickled").mkdir(exist_ok=True)
    (saved / "pickled" / "adapter_config.json").write_bytes((saved / "red" / "adapter_config.json").read_bytes())
    (saved / "pickled" / "adapter_model.bin").write_bytes(b"\x80\x04.")
    expected = {
        ("wide", "wide"): 400,
        ("pickled", "pickled"): 400,
        ("../red", "red"): 400,
        ("red", "../model"): 403,
        ("red", "nothing"): 404,
    }
    for (name, source), status in expected.items():
        answer = await load(server, home, name, source)
        assert answer.status_code == status, (name, source, answer.text)
    assert (await server.post("/v1/unload-adapter", {"name": "none"})).status_code == 404


async def test_overload_is_the_same_on_grpc(server: Server) -> None:
    request = message_class(TASK, GENERATE.request)
    message = request(**body(max_tokens=100)).SerializeToString()
    calls = [server.rpc(TASK.rpc(GENERATE), message) for _ in range(200)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in found if isinstance(error, grpc.aio.AioRpcError)]
    assert refused
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
