"""The engine on vLLM itself, where it is installed and finds a GPU: what the stub takes for granted."""

import asyncio
import importlib.util
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.core.adapters import Adapter, AdapterLibrary, check_adapter, linear_shapes
from services.core.catalog import BatchPolicy, GenerationPolicy, Precision
from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.generation.continuous import ContinuousBatcher
from services.core.generation.records import Form, SamplingParams
from services.engines.vllm.engine import VllmEngine
from services.tasks.llm.vocabulary import Vocabulary
from tests.core.generation.test_continuous import generation, later, said, settled
from tests.tasks.llm.fakes import END, SIZE, artefact

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.filterwarnings("ignore"),  # vLLM's and what it imports
    pytest.mark.timeout(900),
]

BASE = "tiny@1"
POLICY = GenerationPolicy(sequences=8, block_tokens=16, cache_mib=64, step_tokens=512)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose words are far apart: rounding does not decide which is the most probable."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = artefact(tmp_path_factory.mktemp("model"), "byte-level")
    torch.manual_seed(7)
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=SIZE, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=END, **sizes
    )
    network = LlamaForCausalLM(config)
    for parameter in network.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Adapter]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    home = tmp_path_factory.mktemp("home")
    library, shapes = AdapterLibrary(home), linear_shapes(model)
    for name in ("red", "blue"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuned = get_peft_model(
                AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
            )
        for parameter_name, parameter in tuned.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.3)
        tuned.save_pretrained(home / name)
        library.add(BASE, name, home / name, None, lambda folder: check_adapter(folder, BASE, shapes, 8))
    return {name: library.find(BASE, name) for name in ("red", "blue")}


@asynccontextmanager
async def serving(model: Path, **options: Any) -> AsyncIterator[ContinuousBatcher]:
    engine = await asyncio.to_thread(VllmEngine.load, model, EngineOptions(generation=POLICY, context=256, **options))
    batcher = ContinuousBatcher()
    batcher.register("k", engine, BatchPolicy(queue_items=2000), GenerationPolicy())
    try:
        yield batcher
    finally:
        await asyncio.to_thread(batcher.close)
        await asyncio.to_thread(engine.close)


async def test_greedy_texts_are_those_of_transformers(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model).eval()
    prompts = [[5, 6, 7 + n] * (n + 1) for n in range(8)]
    sampling = SamplingParams(temperature=0, logit_bias={END: -100.0})
    async with serving(model, precision=Precision.FP32) as batcher:
        calls = [batcher.submit("k", [generation(prompt, 16, sampling=sampling)], later(300)) for prompt in prompts]
        found = [said(outputs) for (outputs,) in await asyncio.gather(*calls)]
    for prompt, words in zip(prompts, found, strict=True):
        expected = network.generate(
            torch.tensor([prompt]), max_new_tokens=16, min_new_tokens=16, do_sample=False, pad_token_id=0
        )
        assert words == expected[0, len(prompt) :].tolist()


async def test_adapters_json_log_probabilities_and_what_is_left(model: Path, adapters: dict[str, Adapter]) -> None:
    async with serving(model, precision=Precision.BF16, max_adapter_rank=8) as batcher:

        async def words(adapter: Adapter | None = None, **fields: Any) -> list[Any]:
            (outputs,) = await batcher.submit("k", [generation([5, 6, 7], 60, adapter, **fields)], later(300))
            return said(outputs)

        plain, red, blue = await asyncio.gather(words(), words(adapters["red"]), words(adapters["blue"]))
        assert len({tuple(one) for one in (plain, red, blue)}) == 3

        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}}}
        schema |= {"required": ["n"], "additionalProperties": False, "x-guidance": {"whitespace_flexible": False}}
        held = await words(form=Form(frozenset({END}), 0, json.dumps(schema)), reader=UntilEnd)
        assert json.loads(Vocabulary.load(model, SIZE).text(held))["n"] in range(10)

        await cancelled(batcher, adapters)
        broken = Adapter(BASE, "gone", "1", "0" * 64, adapters["red"].folder, 4)
        with pytest.raises(ServingError) as caught:
            await words(broken)
        assert caught.value.code is Code.UNAVAILABLE
        assert await words() == plain


class UntilEnd:
    """Reads ids up to the model's end."""

    def __init__(self, cached: int) -> None:
        self.finished = False

    def read(self, token: Any) -> int:
        self.finished = token.id == END
        found: int = token.id
        return found

    def cut(self) -> None:
        return None


async def cancelled(batcher: ContinuousBatcher, adapters: dict[str, Adapter]) -> None:
    kinds = [None, adapters["red"], adapters["blue"]]

    async def one(number: int) -> None:
        item = generation([5, number % 300 + 4], 100, kinds[number % 3])
        async with aclosing(batcher.stream("k", [item], later(300))) as outputs:
            for _ in range(number % 4):
                await anext(outputs)

    for _ in range(10):
        await asyncio.gather(*(one(number) for number in range(100)))
    await settled(batcher)
