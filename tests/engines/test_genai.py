"""onnxruntime-genai behind the generator's protocol: the same numbers as transformers, whatever the order of steps."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from models.export import ExportError, exporter
from services.core.adapters import Adapter
from services.core.engine import Chunk, EngineOptions, Generator
from services.core.errors import Code, ServingError
from services.engines.genai import SEQUENCES, GenaiGenerator
from tests.llamas import CONTEXT, llama, llama_spec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

PROMPTS = [np.random.default_rng(seed).integers(2, 380, 5 + 9 * seed).tolist() for seed in range(4)]


def export(folder: Path, target: Path, precision: str, **sources: Path) -> Path:
    target.mkdir()
    spec = llama_spec(folder, "causal-lm-genai", precision=precision)
    exporter(spec.architecture)(spec, {"weights": folder, **sources}, target)
    return target


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("genai")


@pytest.fixture(scope="module")
def network(home: Path) -> LlamaForCausalLM:
    return llama(home / "checkpoint")


@pytest.fixture(scope="module")
def artefacts(home: Path, network: LlamaForCausalLM) -> dict[str, Path]:
    return {name: export(home / "checkpoint", home / name, name) for name in ("fp32", "int8", "int4")}


@pytest.fixture(scope="module")
def engine(artefacts: dict[str, Path]) -> GenaiGenerator:
    return GenaiGenerator.load(artefacts["fp32"], EngineOptions())


def chunk(sequence: int, tokens: Sequence[int], start: int = 0, *, ends: bool = True) -> Chunk:
    return Chunk(sequence, tokens, start, (), None, ends)


def expected(network: LlamaForCausalLM, prompt: list[int]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return network(torch.tensor([prompt])).logits[0, -1].numpy()


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("int8", 0.999), ("int4", 0.85)])
def test_logits_are_those_of_transformers(
    network: LlamaForCausalLM, artefacts: dict[str, Path], precision: str, least: float
) -> None:
    engine = GenaiGenerator.load(artefacts[precision], EngineOptions(lanes=2))
    found = engine.step([chunk(number, prompt) for number, prompt in enumerate(PROMPTS)])
    wanted = np.stack([expected(network, prompt) for prompt in PROMPTS])
    assert found.dtype == np.float32
    assert np.std(wanted, axis=0).mean() > 0.1  # not the same answer to everything
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > least
    if precision == "fp32":
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    engine.close()


def greedy(engine: GenaiGenerator, prompts: dict[int, list[int]], steps: int) -> list[list[int]]:
    """Continue all of them, a token of each in a step."""
    logits = engine.step([chunk(number, prompt) for number, prompt in prompts.items()])
    written = [[int(token)] for token in logits.argmax(1)]
    for step in range(steps - 1):
        news = zip(prompts.items(), written, strict=True)
        logits = engine.step([chunk(n, line[-1:], len(prompt) + step) for (n, prompt), line in news])
        for line, token in zip(written, logits.argmax(1), strict=True):
            line.append(int(token))
    for number in prompts:
        engine.release(number)
    return written


def test_together_they_write_what_each_writes_alone(network: LlamaForCausalLM, engine: GenaiGenerator) -> None:
    together = greedy(engine, dict(enumerate(PROMPTS)), 12)
    alone = [greedy(engine, {100 + number: prompt}, 12)[0] for number, prompt in enumerate(PROMPTS)]
    assert together == alone
    assert len({tuple(line) for line in alone}) == len(PROMPTS)
    for prompt, line in zip(PROMPTS, alone, strict=True):
        written = network.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=10**6)
        assert written[0, len(prompt) :].tolist() == line


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, len(PROMPTS[3]) - 1), max_size=4), ends=st.booleans())
def test_a_prompt_may_come_in_chunks(engine: GenaiGenerator, cuts: set[int], ends: bool) -> None:
    edges = [0, *sorted(cuts), len(PROMPTS[3])]
    (whole,) = engine.step([chunk(200, PROMPTS[3])])
    for start, end in pairwise(edges[:-1]):
        assert len(engine.step([chunk(201, PROMPTS[3][start:end], start, ends=ends)])) == ends
    (last,) = engine.step([chunk(201, PROMPTS[3][edges[-2] :], edges[-2])])
    np.testing.assert_allclose(last, whole, atol=1e-4)
    engine.release(200)
    engine.release(201)


def test_logits_are_the_callers_to_write_to(engine: GenaiGenerator) -> None:
    logits = engine.step([chunk(300, PROMPTS[0])])
    logits[:] = -1
    engine.step([chunk(300, [7], len(PROMPTS[0]))])
    assert (logits == -1).all()
    engine.release(300)


def test_what_is_released_is_freed(engine: GenaiGenerator) -> None:
    process = psutil.Process()
    before = 0
    for number in range(1000, 1500):
        engine.step([chunk(number, PROMPTS[0])])
        engine.release(number)
        if number == 1100:
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 15e6  # caches of 400 sequences are 39 MB
    engine.release(1)  # one that was in no step
    np.testing.assert_array_equal(engine.step([chunk(1000, PROMPTS[1])]), engine.step([chunk(1001, PROMPTS[1])]))
    engine.release(1000)
    engine.release(1001)


def test_its_limits(engine: GenaiGenerator, network: LlamaForCausalLM) -> None:
    assert isinstance(engine, Generator)
    limits = engine.limits
    assert (limits.context, limits.vocabulary) == (CONTEXT, network.config.vocab_size)
    assert (limits.blocks, limits.block_tokens) == (limits.sequences, limits.context) == (SEQUENCES, CONTEXT)
    assert engine.step([chunk(400, [3] * CONTEXT)]).shape == (1, limits.vocabulary)
    engine.release(400)


def test_tokens_out_of_place_are_noticed(engine: GenaiGenerator) -> None:
    with pytest.raises(RuntimeError, match="has 0 tokens; its next cannot be at 3"):
        engine.step([chunk(500, [4], 3)])
    engine.release(500)


def test_adapters_need_another_engine(engine: GenaiGenerator, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="use the same model on the torch engine") as told:
        engine.ready(Adapter("tiny@1", "legal", "1", "0" * 64, tmp_path, 8))
    assert told.value.code == Code.INVALID_ARGUMENT


def test_closing_twice_does_nothing(artefacts: dict[str, Path]) -> None:
    engine = GenaiGenerator.load(artefacts["int4"], EngineOptions())
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.step([chunk(1, [3])])


def save_adapter(checkpoint: Path, folder: Path) -> LlamaForCausalLM:
    """An adapter that changes much; returns the network with it in its weights."""
    network = AutoModelForCausalLM.from_pretrained(checkpoint)
    torch.manual_seed(8)
    adapted = get_peft_model(
        network, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    )
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload().eval()


def test_one_adapter_can_be_merged_when_the_model_is_built(home: Path, network: LlamaForCausalLM) -> None:
    changed = save_adapter(home / "checkpoint", home / "adapter")
    merged = export(home / "checkpoint", home / "merged", "fp32", adapter=home / "adapter")
    engine = GenaiGenerator.load(merged, EngineOptions())
    (found,) = engine.step([chunk(1, PROMPTS[1])])
    np.testing.assert_allclose(found, expected(changed, PROMPTS[1]), atol=1e-4)
    assert np.abs(found - expected(network, PROMPTS[1])).max() > 0.5


@pytest.mark.parametrize("width", [32, None])
def test_adapters_of_others_and_pickled_ones_are_refused(
    home: Path, network: LlamaForCausalLM, tmp_path: Path, width: int | None
) -> None:
    if width:
        llama(tmp_path / "other", hidden_size=width)
        save_adapter(tmp_path / "other", tmp_path / "adapter")
    else:
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ExportError, match="is no adapter of" if width else "pickled adapters are not opened"):
        export(home / "checkpoint", tmp_path / "out", "fp32", adapter=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "precision", "told"),
    [
        ({}, "nf4", "nf4 is not made for onnxruntime-genai; use one of int4"),
        ({"num_attention_heads": 8}, "int4", "cannot run it: .*head_size"),
    ],
)
def test_what_it_cannot_run_is_refused(tmp_path: Path, config: dict[str, int], precision: str, told: str) -> None:
    llama(tmp_path / "checkpoint", **config)
    with pytest.raises(ExportError, match=told):
        export(tmp_path / "checkpoint", tmp_path / "out", precision)
