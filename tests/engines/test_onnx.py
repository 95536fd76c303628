"""The onnx engine on a real, tiny graph: embed each token, mean over the mask, multiply into two logits."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.core.engine import Encoder, EngineOptions
from services.engines.onnx import OnnxEncoder

VOCABULARY, WIDTH, LABELS = 50, 6, 2
RANDOM = np.random.default_rng(3)
EMBEDDINGS = RANDOM.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
HEAD = RANDOM.normal(size=(WIDTH, LABELS)).astype(np.float32)


def save_graph(folder: Path) -> Path:
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["tokens", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "middle"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    constants = {"embeddings": EMBEDDINGS, "head": HEAD, "last": np.array([2]), "middle": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "mean-pooled",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "l"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", LABELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), folder / "model.onnx"
    )
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OnnxEncoder:
    return OnnxEncoder.load(save_graph(tmp_path_factory.mktemp("artefact")), EngineOptions())


ragged = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=15).map(lambda ids: np.array(ids, dtype=np.int64)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=50)
@given(batch=ragged)
def test_ragged_batches_give_what_numpy_gives_item_by_item(engine: OnnxEncoder, batch: list[NDArray[np.int64]]) -> None:
    logits = engine.run(batch)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [EMBEDDINGS[ids].mean(axis=0) @ HEAD for ids in batch], atol=1e-5)
    np.testing.assert_allclose(logits, np.concatenate([engine.run([ids]) for ids in batch]), atol=1e-6)


def test_lanes_may_run_at_the_same_time(engine: OnnxEncoder) -> None:
    ready = threading.Barrier(3)
    batches = [[np.array([n, n + 1]), np.array([n])] for n in range(3)]

    def lane(batch: list[NDArray[np.int64]]) -> bool:
        ready.wait(10)
        alone = engine.run(batch)
        return all(np.array_equal(engine.run(batch), alone) for _ in range(50))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lane, batches)) == [True] * 3


def test_it_is_an_encoder(engine: OnnxEncoder) -> None:
    assert isinstance(engine, Encoder)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_onnxruntime_does_not_give_is_refused(tmp_path: Path) -> None:
    options = EngineOptions(providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    with pytest.raises(RuntimeError, match="asked onnxruntime for CUDAExecutionProvider, got CPUExecutionProvider"):
        OnnxEncoder.load(save_graph(tmp_path), options)


def test_a_missing_or_broken_artefact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"model\.onnx"):
        OnnxEncoder.load(tmp_path, EngineOptions())
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(Exception, match=r"model\.onnx"):
        OnnxEncoder.load(tmp_path, EngineOptions())


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    engine = OnnxEncoder.load(save_graph(tmp_path), EngineOptions())
    engine.close()
    engine.close()
