"""The torch engine says what transformers and peft say, in any company and any chunks."""

import asyncio
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from services.core.adapters import Adapter, AdapterLibrary, check_adapter, linear_shapes
from services.core.catalog import BatchPolicy, GenerationPolicy, Precision
from services.core.engine import Chunk, EngineOptions, Logits
from services.core.errors import Code, ServingError
from services.core.generation.continuous import ContinuousBatcher
from services.core.generation.records import Generation, SamplingParams
from services.core.queueing import Item
from services.engines.torch_lm.engine import TorchGenerator
from services.engines.torch_lm.lora import LoraLinear
from tests.core.generation.test_continuous import Ids, said

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft's

VOCABULARY = 96
BASE = "tiny@1"
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SHAPE,
    "qwen2": SHAPE,
    "qwen3": {**SHAPE, "head_dim": 16},
    "mistral": {**SHAPE, "sliding_window": 9, "head_dim": 16},
    "gpt2": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "phi": {**SHAPE, "num_key_value_heads": 4},
}
ADAPTERS = ("red", "blue", "green")


def checkpoint(folder: Path, kind: str) -> Path:
    """A random model whose words are far apart: rounding does not decide which is the most probable."""
    torch.manual_seed(7)
    config = transformers.AutoConfig.for_model(kind, **MODELS[kind], bos_token_id=0, eos_token_id=1)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder / kind)
    return folder / kind


@pytest.fixture(scope="module", params=MODELS)
def artefact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models"), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module")
def adapters(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    """Three of different ranks and targets, in a library as requests would find them."""
    home = tmp_path_factory.mktemp("home")
    library, shapes = AdapterLibrary(home), linear_shapes(llama)
    for seed, name in enumerate(ADAPTERS):
        torch.manual_seed(seed)
        targets: Any = "all-linear" if seed else ["q_proj", "v_proj"]
        config = LoraConfig(r=2 + seed, lora_alpha=8, target_modules=targets, use_rslora=bool(seed % 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for what will be renamed
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(llama), config)
        for parameter_name, parameter in model.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(home / name)
        library.add(BASE, name, home / name, None, lambda folder: check_adapter(folder, BASE, shapes, 64))
    return [library.find(BASE, name) for name in ADAPTERS]


def engine(artefact: Path, precision: Precision = Precision.FP32, **policy: Any) -> TorchGenerator:
    policy = {"block_tokens": 4, "sequences": 6, "cache_mib": 1, **policy}
    return TorchGenerator.load(
        artefact, EngineOptions(1, 1, precision=precision, generation=GenerationPolicy(**policy))
    )


def prompts(count: int) -> list[list[int]]:
    generator = np.random.default_rng(3)
    return [list(map(int, generator.integers(2, VOCABULARY, size))) for size in generator.integers(1, 40, count)]


def greedy(model: Any, prompt: Sequence[int], count: int = 12) -> list[int]:
    """One at a time, by transformers."""
    ids = model.generate(
        torch.tensor([prompt]), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0
    )
    return list(map(int, ids[0, len(prompt) :]))


async def generated(
    found: TorchGenerator, asked: Sequence[tuple[Sequence[int], Adapter | None]], step_tokens: int = 16
) -> list[list[int]]:
    batcher = ContinuousBatcher()
    batcher.register("k", found, BatchPolicy(), GenerationPolicy(step_tokens=step_tokens))
    items = [
        Item(
            Generation(tuple(prompt), 12, SamplingParams(temperature=0, logit_bias={1: -1e9}), _ids, adapter=adapter),
            1,
        )
        for prompt, adapter in asked
    ]
    try:
        calls = (batcher.submit("k", [item], time.monotonic() + 60) for item in items)
        return [said(outputs) for (outputs,) in await asyncio.gather(*calls)]
    finally:
        await asyncio.to_thread(batcher.close)


def _ids(cached: int) -> Ids:
    return Ids(cached, ends=False)


@pytest.mark.parametrize("step_tokens", [7, 64])
async def test_greedy_texts_are_those_of_one_at_a_time(artefact: Path, step_tokens: int) -> None:
    reference = AutoModelForCausalLM.from_pretrained(artefact).eval()
    asked = prompts(12)
    found = await generated(engine(artefact), [(prompt, None) for prompt in asked], step_tokens)
    assert found == [greedy(reference, prompt) for prompt in asked]
    assert len({tuple(text) for text in found}) > 6  # it does say different things


async def test_mixed_adapters_say_what_peft_says(llama: Path, adapters: list[Adapter]) -> None:
    owners = [None, *adapters]
    asked = [(prompt, owners[number % 4]) for number, prompt in enumerate(prompts(12))]
    found = await generated(engine(llama), asked)
    expected = []
    for prompt, adapter in asked:
        model = AutoModelForCausalLM.from_pretrained(llama)
        model = PeftModel.from_pretrained(model, adapter.folder) if adapter else model
        expected.append(greedy(model.eval(), prompt))
    assert found == expected


def test_logits_on_each_adapter_are_pefts_own(llama: Path, adapters: list[Adapter]) -> None:
    found = engine(llama)
    tokens = list(range(2, 30))
    plain = reference(llama, tokens)
    for adapter in adapters:
        wait(found, adapter)
        (row,) = found.step([chunk(tokens, adapter)])
        expected = reference(llama, tokens, adapter)
        np.testing.assert_allclose(row, expected, atol=1e-4, rtol=1e-4)
        assert np.abs(expected - plain).max() > 0.1
    (row,) = found.step([chunk(tokens, None)])
    np.testing.assert_allclose(row, plain, atol=1e-4, rtol=1e-4)


def reference(artefact: Path, tokens: list[int], adapter: Adapter | None = None) -> Logits:
    model = AutoModelForCausalLM.from_pretrained(artefact)
    model = PeftModel.from_pretrained(model, adapter.folder) if adapter else model
    with torch.inference_mode():
        row: Logits = model.eval()(torch.tensor([tokens])).logits[0, -1].numpy()
    return row


def chunk(tokens: Sequence[int], adapter: Adapter | None = None, sequence: int = 0, first: int = 0) -> Chunk:
    blocks = range(first, first + -(-len(tokens) // 4))
    return Chunk(sequence, tokens, 0, blocks, adapter, ends=True)


def wait(found: TorchGenerator, adapter: Adapter) -> None:
    for _ in range(1000):
        if found.ready(adapter):
            return
        time.sleep(0.005)
    raise TimeoutError


def test_the_adapter_unused_for_longest_makes_way(llama: Path, adapters: list[Adapter]) -> None:
    found = engine(llama, adapters_mib=0)
    wait(found, adapters[0])
    found.step([chunk([2], adapters[0], sequence=1)])
    wait(found, adapters[1])  # the first one is in use, and stays
    assert found.ready(adapters[0])
    assert (found.running(adapters[0].digest), found.running(adapters[1].digest)) == (1, 0)
    found.release(1)
    found.step([chunk([2])])
    wait(found, adapters[2])
    assert not found.ready(adapters[0])


def test_an_adapter_that_was_ready_is_still_there_in_the_step(llama: Path, adapters: list[Adapter]) -> None:
    found = engine(llama, adapters_mib=0)
    tokens = list(range(2, 30))
    for adapter in adapters:
        wait(found, adapter)  # each could have made the one before it go
    chunks = [chunk(tokens, adapter, sequence=n, first=8 * n) for n, adapter in enumerate(adapters)]
    for row, adapter in zip(found.step(chunks), adapters, strict=True):
        np.testing.assert_allclose(row, reference(llama, tokens, adapter), atol=1e-4, rtol=1e-4)


def test_an_adapter_whose_files_changed_is_not_used(llama: Path, adapters: list[Adapter], tmp_path: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapters[0].folder / name).read_bytes())
    changed = Adapter(BASE, "red", "1", "0" * 64, tmp_path, 2)
    with pytest.raises(ServingError) as caught:
        wait(engine(llama), changed)
    assert caught.value.code is Code.UNAVAILABLE


def test_a_sequence_of_nans_spoils_no_other(llama: Path) -> None:
    found = engine(llama)
    alone = found.step([chunk([5, 6, 7])])
    with torch.no_grad():
        found._model.get_input_embeddings().weight[9] = float("nan")  # type: ignore[union-attr, operator, index]
    ill = [chunk([9, 9], sequence=1, first=4), chunk([9], sequence=2, first=0)]
    found.step(ill)
    again = found.step([chunk([5, 6, 7], first=4), *ill[1:]])
    np.testing.assert_allclose(again[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.NF4, Precision.INT8])
def test_other_precisions_are_near(llama: Path, precision: Precision) -> None:
    tokens = list(range(2, 30))
    (row,) = engine(llama, precision).step([chunk(tokens)])
    expected = reference(llama, tokens)
    assert row.dtype == np.float32
    assert float(np.corrcoef(row, expected)[0, 1]) > (0.9 if precision == Precision.NF4 else 0.99)


def test_nf4_weights_take_a_quarter(tmp_path: Path) -> None:
    wide = {**SHAPE, "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 1}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**wide)).save_pretrained(tmp_path)

    def linear_bytes(precision: Precision) -> int:
        found = engine(tmp_path, precision)
        found.step([chunk([2, 3])])  # bitsandbytes packs them anew in the first step
        modules = found._model.model.modules()  # type: ignore[union-attr]
        linears = [module.base for module in modules if isinstance(module, LoraLinear)]
        states = [state for module in linears for state in module.state_dict().values()]
        return sum(state.nbytes for state in states)

    assert linear_bytes(Precision.NF4) <= 0.30 * linear_bytes(Precision.BF16)


def test_the_cache_stays_in_its_bounds(llama: Path) -> None:
    found = engine(llama, cache_mib=1)
    row = 2 * 2 * 16 * 2 * 4  # keys and values, 2 heads of 16, 2 layers, 4 bytes
    assert found.limits.blocks == 2**20 // (row * 4)
    assert found.limits.context == 128
