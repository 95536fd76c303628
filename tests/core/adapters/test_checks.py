"""What is refused, and in which words; and that what PEFT saves is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from services.core.adapters import check_adapter, linear_shapes, read_config
from services.core.errors import Code, OperatorError, ServingError
from tests.adapters import BASE, CHECK, SHAPES, key, tensors, write_adapter, write_base

Q = "model.layers.0.self_attn.q_proj"
Tensors = dict[str, np.ndarray]


def refusal(folder: Path) -> str:
    with pytest.raises(ServingError) as caught:
        CHECK(folder)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "path")
    assert caught.value.message.endswith(".")
    return caught.value.message


def test_a_sound_adapter_is_described(tmp_path: Path) -> None:
    checked = CHECK(write_adapter(tmp_path))
    assert (checked.rank, checked.targets, checked.declared) == (4, ("q_proj", "up_proj"), "someone/tiny")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"peft_type": "IA3"}, "peft_type: input should be 'LORA'"),
        ({"r": 0}, "r: input should be greater"),
        ({"r": 9}, "Its rank is 9; tiny@1 takes adapters of rank 8 at most"),
        ({"lora_alpha": 0}, "lora_alpha: input should be greater"),
        ({"bias": "all"}, "bias: input should be 'none'"),
        ({"use_dora": True}, r"use_dora (DoRA) is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base too"),
    ],
)
def test_configs_that_are_not_plain_lora(tmp_path: Path, config: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(write_adapter(tmp_path, **config))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"peft_type": "LORA"}', b"[" * 100_000])
def test_configs_that_are_none(tmp_path: Path, text: bytes) -> None:
    (write_adapter(tmp_path) / "adapter_config.json").write_bytes(text)
    assert "adapter_config.json: " in refusal(tmp_path)


def without(weights: Tensors, name: str) -> Tensors:
    return {other: value for other, value in weights.items() if other != name}


def with_one(value: float) -> Callable[[Tensors], Tensors]:
    def change(weights: Tensors) -> Tensors:
        weights[key(Q, "B")][-1, -1] = value
        return weights

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: {}, "holds no tensors"),
        (lambda found: without(found, key(Q, "B")), f"'{Q}' has no lora_B"),
        (lambda found: without(found, key(Q, "A")), f"'{Q}' has no lora_A"),
        (lambda found: {**found, key(Q, "A"): found[key(Q, "A")].T.copy()}, "lora_A of 'model.layers.0.self_attn"),
        (
            lambda found: {**found, key(Q, "A"): found[key(Q, "B")], key(Q, "B"): found[key(Q, "A")]},
            "has shape [16, 4]",
        ),
        (lambda found: {**found, key(Q, "A"): found[key(Q, "A")][:0]}, "has shape [0, 16]"),
        (lambda found: {**found, key(Q, "A"): found[key(Q, "A")].ravel()}, "has shape [64]"),
        (lambda _: tensors(rank=2), "at rank 4 takes [4, 16]"),
        (lambda found: {**found, key(Q, "A"): found[key(Q, "A")].astype(np.int8)}, "is I8; save it as one of F32"),
        (lambda found: {**found, key(Q, "A"): found[key(Q, "A")].astype(np.float64)}, "is F64"),
        (lambda found: {**found, "base_model.model.lm_head.weight": found[key(Q, "A")]}, "is not a LoRA matrix"),
        (lambda found: {**found, "x.lora_embedding_A": found[key(Q, "A")]}, "is not a LoRA matrix"),
        (lambda found: {f"{name}.{'x' * 999}": value for name, value in found.items()}, "is not a LoRA matrix"),
        (
            lambda found: {name.replace("layers.1", "layers.2"): value for name, value in found.items()},
            "tiny@1 has no linear module 'model.layers.2.mlp.up_proj'; the adapter is for another base",
        ),
        (with_one(np.nan), "has values that are not finite"),
        (with_one(-np.inf), "has values that are not finite"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, change: Callable[[Tensors], Tensors], sentence: str) -> None:
    message = refusal(write_adapter(tmp_path, weights=change(tensors())))
    assert sentence in message
    assert len(message) < 600


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("value", "fine"), [(1.5, True), (-0.0, True), (np.nan, False), (np.inf, False)])
def test_half_precision_is_looked_through_too(tmp_path: Path, kind: Any, value: float, fine: bool) -> None:
    weights = {name: tensor.astype(kind) for name, tensor in with_one(value)(tensors()).items()}
    write_adapter(tmp_path, weights=weights)
    assert CHECK(tmp_path).rank == 4 if fine else "not finite" in refusal(tmp_path)


def sealed(header: bytes, data: bytes = b"", claimed: int | None = None) -> bytes:
    return (len(header) if claimed is None else claimed).to_bytes(8, "little") + header + data


ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\x80\x04K*.",  # a pickle under this name
        sealed(b"{}", claimed=1 << 30),
        sealed(b"{}", claimed=(1 << 64) - 1),
        sealed(b"{}" + b" " * (1 << 20), claimed=1 << 30),
        sealed(b"{}" + b" " * (1 << 24)),
        sealed(b"not json"),
        sealed(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', b"\0" * 15),
        sealed(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}', b"\0" * 24),
        sealed(b'{"a":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,4]}}', b"\0" * 4),
        sealed(f'{{"a":{ONE},"a":{ONE}}}'.encode(), b"\0" * 4),
        sealed(f'{{"a":{ONE},"b":{ONE}}}'.encode(), b"\0" * 4),
    ],
)
def test_files_that_are_no_sound_safetensors(tmp_path: Path, content: bytes) -> None:
    (write_adapter(tmp_path) / "adapter_model.safetensors").write_bytes(content)
    assert "adapter_model.safetensors is damaged" in refusal(tmp_path)


@given(cut=st.integers(0, 3000))
def test_a_file_cut_anywhere_is_damaged(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = write_adapter(tmp_path_factory.mktemp("cut"))
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    assert "is damaged" in refusal(folder)


@given(place=st.integers(0, 2000), byte=st.binary(min_size=1, max_size=1))
def test_a_file_changed_anywhere_is_refused_or_still_fits(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: bytes
) -> None:
    folder = write_adapter(tmp_path_factory.mktemp("changed"))
    with (folder / "adapter_model.safetensors").open("r+b") as file:
        file.seek(place)
        file.write(byte)
    try:
        assert CHECK(folder).rank == 4
    except ServingError as error:
        assert error.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(("rslora", "scaling"), [(False, 2.0), (True, 4.0)])
def test_scaling(tmp_path: Path, rslora: bool, scaling: float) -> None:
    assert read_config(write_adapter(tmp_path, use_rslora=rslora)).scaling == scaling


def test_a_base_is_known_by_the_headers_of_its_files(tmp_path: Path) -> None:
    assert linear_shapes(write_base(tmp_path)) == SHAPES


def test_a_base_in_shards(tmp_path: Path) -> None:
    where = {}
    for number, (module, shape) in enumerate(SHAPES.items()):
        where[f"{module}.weight"] = file = f"model-{number}.safetensors"
        save_file({f"{module}.weight": np.zeros(shape, np.float32)}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert linear_shapes(tmp_path) == SHAPES
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(OperatorError, match="no sound model"):
        linear_shapes(tmp_path)


def test_no_base_at_all(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no sound model"):
        linear_shapes(tmp_path)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # between peft and transformers
@pytest.mark.parametrize(
    ("targets", "extra"),
    [
        ("all-linear", {}),
        (["q_proj", "v_proj"], {"use_rslora": True}),
        (r".*\.mlp\.(up|down)_proj", {"init_lora_weights": "gaussian"}),
    ],
)
def test_what_peft_saves_is_taken_by_its_own_base_only(tmp_path: Path, targets: Any, extra: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    def base(name: str, hidden: int) -> LlamaForCausalLM:
        config = LlamaConfig(
            vocab_size=64,
            hidden_size=hidden,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
        model = LlamaForCausalLM(config)
        model.save_pretrained(tmp_path / name)
        return model

    torch.manual_seed(0)
    base("other", 64)
    tuned = get_peft_model(base("base", 32), LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM", **extra))
    tuned.save_pretrained(tmp_path / "adapter")
    shapes = linear_shapes(tmp_path / "base")
    checked = check_adapter(tmp_path / "adapter", BASE, shapes)
    assert checked.rank == 4
    assert set(checked.targets) <= {name.rpartition(".")[2] for name in shapes}
    with pytest.raises(ServingError, match="for another base"):
        check_adapter(tmp_path / "adapter", BASE, linear_shapes(tmp_path / "other"))
