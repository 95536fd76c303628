"""What vLLM is started with and asked for, what is made of its answers, and that it is left with nothing."""

import asyncio
import importlib
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.core.adapters import Adapter, AdapterLibrary
from services.core.catalog import BatchPolicy, GenerationPolicy, Precision
from services.core.context import Priority
from services.core.engine import EngineOptions, SelfScheduled
from services.core.errors import Code, OperatorError, ServingError
from services.core.generation.continuous import ContinuousBatcher
from services.core.generation.records import Form, SamplingParams
from services.core.queueing import Item
from tests.adapters import BASE, CHECK, write_adapter
from tests.core.generation.test_continuous import Ids, generation, later, said, settled
from tests.engines.vllm_stub import CONTEXT, OPTIONS, POLICY, base, started, stubbed
from tests.tasks.llm.fakes import SIZE

ADAPTERS = ("red", "blue", "green", "odd")


@pytest.fixture(scope="module")
def stub() -> Iterator[Any]:
    with stubbed() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("vllm") / "model")


@pytest.fixture
def adapters(tmp_path: Path) -> dict[str, Adapter]:
    """The last one is of a kind that vLLM refuses."""
    library = AdapterLibrary(tmp_path / "home")
    for seed, name in enumerate(ADAPTERS):
        targets = ["lm_head"] if name == "odd" else ["q_proj"]
        library.add(BASE, name, write_adapter(tmp_path / name, seed, target_modules=targets), None, CHECK)
    return {name: library.find(BASE, name) for name in ADAPTERS}


@asynccontextmanager
async def serving(engine: SelfScheduled, **policy: Any) -> AsyncIterator[ContinuousBatcher]:
    batcher = ContinuousBatcher()
    batcher.register("k", engine, BatchPolicy(**policy), GenerationPolicy())
    try:
        yield batcher
    finally:
        await asyncio.to_thread(batcher.close)
        engine.close()


async def told(batcher: ContinuousBatcher, *asked: Item) -> list[list[int]]:
    return [said(one) for (one,) in await asyncio.gather(*(batcher.submit("k", [item], later()) for item in asked))]


async def failure(batcher: ContinuousBatcher, item: Item) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await batcher.submit("k", [item], later())
    return caught.value


# --- what it is started with ---


def test_it_is_started_as_the_catalog_says(stub: Any, folder: Path) -> None:
    engine = started(folder)
    args = stub.STARTED[-1].args
    assert isinstance(engine, SelfScheduled)
    assert (args.model, args.load_format, args.trust_remote_code) == (str(folder), "safetensors", False)
    assert (args.dtype, args.max_model_len, args.max_num_seqs) == ("bfloat16", CONTEXT, 4)
    assert (args.max_num_batched_tokens, args.block_size, args.kv_cache_memory_bytes) == (64, 8, 8 << 20)
    assert (args.enable_lora, args.max_lora_rank, args.scheduling_policy) == (True, 8, "priority")
    assert (args.disable_log_stats, args.enable_log_requests) == (True, False)
    assert (engine.limits.context, engine.limits.vocabulary, engine.limits.sequences) == (CONTEXT, SIZE, 4)
    assert engine.limits.blocks * engine.limits.block_tokens >= CONTEXT


@pytest.mark.parametrize(
    ("rank", "memory", "expected"),
    [(9, 256, (16, 4, 8)), (512, 1, (512, 4, 8)), (512, 0, (512, 1, 2)), (1, 256, (1, 4, 8))],
)
def test_as_many_adapters_as_there_is_memory_for(
    stub: Any, folder: Path, rank: int, memory: int, expected: tuple[int, int, int]
) -> None:
    policy = POLICY.model_copy(update={"adapters_mib": memory})
    started(folder, replace(OPTIONS, max_adapter_rank=rank, generation=policy))
    args = stub.STARTED[-1].args
    assert (args.max_lora_rank, args.max_loras, args.max_cpu_loras) == expected


def test_without_adapters_it_takes_as_long_a_context_as_the_model_does(stub: Any, folder: Path) -> None:
    engine = started(folder, EngineOptions(generation=POLICY))
    assert (stub.STARTED[-1].args.dtype, stub.STARTED[-1].args.enable_lora) == ("float32", False)
    assert engine.limits.context == 2048


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": Precision.NF4}, "makes no nf4 weights; use fp32, bf16, or engine torch-lm"),
        ({"precision": Precision.INT8}, "makes no int8 weights"),
        ({"precision": Precision.INT4}, "makes no int4 weights"),
        ({"precision": Precision.FP32}, "no adapters on fp32 weights; set precision: bf16"),
        ({"max_adapter_rank": 513}, "rank 512 at most"),
    ],
)
def test_what_it_cannot_do_is_refused(stub: Any, folder: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OperatorError, match=sentence):
        started(folder, replace(OPTIONS, **options))


def test_a_folder_that_holds_no_model_is_never_looked_for_on_a_hub(stub: Any, tmp_path: Path) -> None:
    before = len(stub.STARTED)
    with pytest.raises(OperatorError, match=r"no config\.json"):
        started(tmp_path / "someone" / "model")
    assert len(stub.STARTED) == before


# --- what it is asked for ---


async def test_what_is_asked_for(stub: Any, folder: Path) -> None:
    sampling = SamplingParams(0.5, 7, 0.9, 0.1, 1.1, 0.2, 0.3, {5: -1.0}, -1, 2)
    form = Form(frozenset({3, 1}), 2, '{"type": "object"}')
    async with serving(started(folder)) as batcher:
        await batcher.submit("k", [generation([9, 8], 30, sampling=sampling, form=Form(frozenset({1}), 2))], later())
        (request,) = (core := stub.STARTED[-1]).asked
        params = request.params
        assert request.prompt == [9, 8]
        assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.5, 7, 0.9, 0.1)
        assert (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) == (1.1, 0.2, 0.3)
        assert (params.logit_bias, params.seed, params.logprobs) == ({5: -1.0}, 2**63 - 1, 2)
        assert (params.max_tokens, params.min_tokens, params.stop_token_ids, params.ignore_eos) == (30, 2, [1], True)
        assert (params.detokenize, params.output_kind.name, params.structured_outputs) == (False, "DELTA", None)
    client = importlib.import_module("services.engines.vllm.sampling")
    asked = client.sampling_params(generation([9], 30, form=form).payload)
    assert (asked.stop_token_ids, asked.seed, asked.logit_bias) == ([1, 3], None, None)
    assert asked.structured_outputs.json == form.json_schema
    assert core.closed == 1


async def test_log_probabilities_best_first_and_none_of_what_cannot_come(stub: Any, folder: Path) -> None:
    class Telling(Ids):
        def read(self, token: Any) -> Any:
            return token

    asked = [
        generation([5], 2, sampling=SamplingParams(logprobs=count), reader=lambda cached: Telling(cached, ends=False))
        for count in (None, 0, 5)
    ]
    async with serving(started(folder)) as batcher:
        plain, alone, many = await batcher.submit("k", asked, later())
    assert all(token.logprob is None and token.top == () for token in said(plain))
    assert all(token.logprob == -1.0 and token.top == () for token in said(alone))
    for token in said(many):
        expected = [((token.id - 1) % SIZE, -0.5), (token.id, -1.0), ((token.id + 1) % SIZE, -1.5)]
        assert token.top == tuple(expected)


async def test_priorities_decide_who_is_first(stub: Any, folder: Path) -> None:
    policy = POLICY.model_copy(update={"sequences": 1})
    order: list[int] = []

    async def one(number: int, priority: Priority) -> None:
        await batcher.submit("k", [generation([number], 3)], later(), priority)
        order.append(number)

    async with serving(started(folder, replace(OPTIONS, generation=policy))) as batcher:
        given = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.HIGH]
        await asyncio.gather(*(one(number, priority) for number, priority in enumerate(given)))
    assert order == [2, 3, 1, 0]


async def test_tokens_that_come_together_are_read_one_by_one(stub: Any, folder: Path) -> None:
    """As when the loop was busy for some steps: vLLM merges what was not taken."""
    engine = started(folder)
    async with serving(engine) as batcher:
        (expected,) = await told(batcher, generation([4, 4], 9))
    work = generation([4, 4], 9).payload
    coming = engine.generate(1, work, Priority.NORMAL)
    async with aclosing(coming):
        first = await anext(coming)
        for _ in range(30):
            await asyncio.sleep(0)
        rest = await anext(coming)
    assert len(rest.tokens) == 9 - len(first.tokens)
    assert [token.id for token in (*first.tokens, *rest.tokens)] == expected


# --- who runs on what ---


async def test_adapters_change_what_is_said_in_any_company(
    stub: Any, folder: Path, adapters: dict[str, Adapter]
) -> None:
    asked = [
        generation([number], 9, adapters.get(name)) for number in range(4) for name in ("", "red", "blue", "green")
    ]
    async with serving(started(folder)) as batcher:
        alone = [(await told(batcher, item))[0] for item in asked]
        assert await told(batcher, *asked) == alone
    assert len({tuple(words) for words in alone}) == len(asked)


async def test_cached_prompts_are_of_one_adapter(stub: Any, folder: Path, adapters: dict[str, Adapter]) -> None:
    cached: list[int] = []

    def reader(count: int) -> Ids:
        cached.append(count)
        return Ids(count, ends=False)

    async with serving(started(folder)) as batcher:
        for name in ("", "", "red", "red"):
            await told(batcher, generation([7] * 20, 1, adapters.get(name), reader=reader))
    assert cached == [0, 16, 0, 16]


async def test_who_has_no_place_waits_and_nothing_is_read_twice(
    stub: Any, folder: Path, adapters: dict[str, Adapter]
) -> None:
    """Two places: the third waits until one is idle. What goes comes back under another number, and only if asked."""
    policy = POLICY.model_copy(update={"adapters_mib": 0})
    engine = started(folder, replace(OPTIONS, generation=policy))
    core = stub.STARTED[-1]
    async with serving(engine) as batcher:
        asked = [generation([n], 5, adapters[name]) for n in range(4) for name in ("red", "blue", "green")]
        assert len(await told(batcher, *asked)) == 12
        assert sorted(core.loads) == list(range(1, len(core.loads) + 1))
        assert len(core.loras) == 2
        (words,) = await told(batcher, generation([9], 5, adapters["green"]))
        held = len(core.loads)
        shutil.rmtree(adapters["green"].folder)  # unloaded by force
        assert await told(batcher, generation([9], 5, adapters["green"])) == [words]
        assert len(core.loads) == held
    assert [engine.running(one.digest) for one in adapters.values()] == [0] * 4


async def test_a_caller_who_leaves_while_an_adapter_is_loaded_costs_others_nothing(
    stub: Any, folder: Path, adapters: dict[str, Adapter]
) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    core.load_seconds = 0.2
    async with serving(engine) as batcher:
        leaving = asyncio.ensure_future(told(batcher, generation([1], 5, adapters["red"])))
        staying = asyncio.ensure_future(told(batcher, generation([1], 5, adapters["red"])))
        plain = await told(batcher, generation([1], 5))
        assert engine.running(adapters["red"].digest) == 2
        leaving.cancel()
        assert await staying != plain
        await settled(batcher)
    assert core.loads == [1]


@pytest.mark.parametrize(("name", "code"), [("odd", Code.INVALID_ARGUMENT), ("red", Code.UNAVAILABLE)])
async def test_a_bad_adapter_fails_alone(
    stub: Any, folder: Path, adapters: dict[str, Adapter], name: str, code: Code
) -> None:
    (adapters["red"].folder / "adapter_model.safetensors").write_bytes(b"other weights")
    async with serving(started(folder)) as batcher:
        good = asyncio.ensure_future(told(batcher, generation([1], 20), generation([1], 20, adapters["blue"])))
        for _ in range(2):
            error = await failure(batcher, generation([2], 5, adapters[name]))
            assert (error.code, error.param) == (code, "model")
            assert adapters[name].id in error.message
            assert "lm_head" not in error.message
        assert len(await good) == 2
        assert len(stub.STARTED[-1].loads) == 1


# --- what goes wrong, and what is left ---


async def test_a_thousand_cancelled_streams_leave_nothing(
    stub: Any, folder: Path, adapters: dict[str, Adapter]
) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    kinds = [None, adapters["red"], adapters["blue"]]

    async def cancelled(number: int) -> None:
        item = generation([number % 5] * 9, 50, kinds[number % 3])
        async with aclosing(batcher.stream("k", [item], later())) as outputs:
            for _ in range(number % 4):
                await anext(outputs)

    tasks = len(asyncio.all_tasks())
    async with serving(engine, queue_items=2000) as batcher:
        for _ in range(10):
            await asyncio.gather(*(cancelled(number) for number in range(100)))
        await settled(batcher)
        assert (batcher.waiting, batcher.running("k"), batcher.blocks("k")) == (0, 0, 0)
    assert not core.requests
    assert core.aborted
    assert [engine.running(one.digest) for one in adapters.values()] == [0] * 4
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == tasks


async def test_a_reader_that_has_enough_stops_the_engine(stub: Any, folder: Path) -> None:
    async with serving(started(folder)) as batcher:
        ended = generation([3], 200, ends=True)
        (words,) = await told(batcher, ended)
        assert words[-1] % 7 == 0
        await settled(batcher)
        core = stub.STARTED[-1]
        assert (len(core.aborted), len(core.requests)) == (1, 0)


async def test_deadlines_stop_it(stub: Any, folder: Path) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    core.seconds = 0.02
    async with serving(engine) as batcher:
        calls = [batcher.submit("k", [generation([n], 200)], later(0.2)) for n in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        await settled(batcher)
    assert codes(found) == [Code.DEADLINE_EXCEEDED] * 6
    assert not core.requests


def codes(found: Sequence[Any]) -> list[Any]:
    return [getattr(one, "code", None) for one in found]


async def test_a_dead_engine_is_told_of_by_all_that_run_and_all_that_come(
    stub: Any, folder: Path, adapters: dict[str, Adapter]
) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    core.seconds = 0.01
    async with serving(engine) as batcher:
        kinds = [None, adapters["red"]] * 3
        calls = [
            asyncio.ensure_future(batcher.submit("k", [generation([n], 200, kind)], later()))
            for n, kind in enumerate(kinds)
        ]
        while len(core.asked) < len(calls):
            await asyncio.sleep(0.001)
        core.die()
        assert codes(await asyncio.gather(*calls, return_exceptions=True)) == [Code.UNAVAILABLE] * 6
        for adapter in (None, adapters["red"], adapters["blue"]):
            error = await failure(batcher, generation([1], 5, adapter))
            assert (error.code, error.retry_after) == (Code.UNAVAILABLE, 1.0)
        await settled(batcher)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("VLLMValidationError", Code.INVALID_ARGUMENT),
        ("RetryableRequestError", Code.UNAVAILABLE),
        ("GenerationError", Code.INTERNAL),
    ],
)
async def test_its_errors_in_our_words(stub: Any, folder: Path, name: str, code: Code) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    core.seconds = 0.01
    async with serving(engine) as batcher:
        call = asyncio.ensure_future(batcher.submit("k", [generation([1], 200)], later()))
        while not core.requests:
            await asyncio.sleep(0.001)
        core.fail(getattr(importlib.import_module("vllm.exceptions"), name)("top_k is 99" + "9" * 1000))
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(error, ServingError)
        assert error.code is code
        assert len(error.message) < 300
        assert await told(batcher, generation([1], 3))


async def test_closing_while_it_runs(stub: Any, folder: Path) -> None:
    engine = started(folder)
    core = stub.STARTED[-1]
    core.seconds = 0.01
    batcher = ContinuousBatcher()
    batcher.register("k", engine, BatchPolicy(), GenerationPolicy())
    calls = [
        asyncio.ensure_future(batcher.submit("k", [generation([n], most)], later())) for n, most in [(1, 3), (2, 200)]
    ]
    await asyncio.sleep(0.02)
    closing = asyncio.ensure_future(asyncio.to_thread(batcher.close))
    assert len(said((await calls[0])[0])) == 3
    batcher.abort()
    with pytest.raises(ServingError, match="shutting down"):
        await calls[1]
    await closing
    engine.close()
    engine.close()
    assert (core.closed, len(core.requests)) == (1, 0)
