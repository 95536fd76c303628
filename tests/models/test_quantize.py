"""int8 arithmetic: what a choice of scales loses, on arrays and on graphs small enough to compute by hand."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.export.onnx import SCOPES
from models.export.quantize import Floats, QuantizeError, choose, quantize, quantize_weight

RANDOM = np.random.default_rng(3)


def normal(*shape: int) -> Floats:
    return RANDOM.standard_normal(shape).astype(np.float32)


def error(rows: Floats, weight: Floats) -> float:
    """Relative error of the quantized product, as the graph computes it."""
    chosen = choose(rows, weight)
    smooth = np.float32(1) if chosen.smooth is None else chosen.smooth
    integers, scales = quantize_weight(weight * np.reshape(smooth, (-1, 1)))
    found = chosen.rounded(rows / smooth) @ (integers * scales)
    return float(np.linalg.norm(found - rows @ weight) / np.linalg.norm(rows @ weight))


def test_ordinary_activations_lose_about_a_percent() -> None:
    assert error(normal(200, 32), normal(32, 16)) < 0.02


def test_outlying_channels_are_smoothed() -> None:
    rows, weight = normal(200, 32), normal(32, 16)
    rows[:, 5] *= 60  # one scale for all would leave the other channels a few levels
    weight[5] /= 60
    assert choose(rows, weight).smooth is not None
    assert error(rows, weight) < 0.03


def test_rare_extremes_are_cut() -> None:
    rows = normal(2000, 32)
    rows[7, 3] = 40.0
    chosen = choose(rows, normal(32, 16))
    assert float(chosen.scale) * 255 < rows.max() - rows.min()


@given(st.floats(1e-6, 1e6), st.floats(-3, 3), st.integers(1, 5))
@settings(max_examples=40)
def test_any_finite_activations_have_a_scale(size: float, shift: float, rows: int) -> None:
    values = (normal(rows, 4) + np.float32(shift)) * np.float32(size)
    chosen = choose(values, normal(4, 3))
    assert chosen.scale > 0
    assert np.isfinite(chosen.rounded(values)).all()
    # Zero is exact: masked and padded activations stay what they are.
    assert (chosen.rounded(np.zeros((1, 4), dtype=np.float32)) == 0).all()


def test_activations_that_are_all_zero_have_a_scale() -> None:
    assert choose(np.zeros((3, 4), dtype=np.float32), normal(4, 3)).scale > 0


def test_a_broken_model_is_refused() -> None:
    with pytest.raises(QuantizeError, match="not finite"):
        choose(np.full((3, 4), np.nan, dtype=np.float32), normal(4, 3))


TABLE, FIRST, BIAS, SECOND = normal(2000, 8), normal(8, 16), normal(16), normal(16, 2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Embedding -> product with a bias -> relu -> product without one."""
    folder = tmp_path / "fp32"
    folder.mkdir()
    scope = helper.make_node("MatMul", ["embedded", "first"], ["one"])
    scope.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value="['model', 'model.dense', 'linear']"))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        scope,
        helper.make_node("Add", ["bias", "one"], ["biased"]),
        helper.make_node("Relu", ["biased"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["two"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["mask"], ["unused"], keepdims=0),
        helper.make_node("Mul", ["two", "unused"], ["logits"]),
    ]
    names = {"table": TABLE, "first": FIRST, "bias": BIAS, "second": SECOND}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "n"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "n", 2])],
        [numpy_helper.from_array(value, name) for name, value in names.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    (folder / "tokenizer.json").write_text("{}")
    (folder / "manifest.json").write_text("{}")
    return folder


INPUTS = [np.arange(first, first + 9) * 7 for first in range(0, 200, 10)]


def run(folder: Path, ids: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0])


def kinds(folder: Path) -> list[str]:
    return [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]


def test_a_graph_keeps_its_function(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "int8"
    target.mkdir()
    quantize(source, target, INPUTS)
    ids = np.stack(INPUTS[:4])
    exact = np.maximum(TABLE[ids] @ FIRST + BIAS, 0) @ SECOND
    assert np.linalg.norm(run(target, ids) - exact) / np.linalg.norm(exact) < 0.03
    assert kinds(target).count("MatMulIntegerToFloat") == 2
    assert "MatMul" not in kinds(target)
    assert sorted(path.name for path in target.iterdir()) == ["model.onnx", "tokenizer.json"]
    assert (target / "model.onnx").stat().st_size < (source / "model.onnx").stat().st_size / 2


def test_modules_can_be_kept(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path, INPUTS, ["model.dense"])
    assert (kinds(tmp_path).count("MatMul"), kinds(tmp_path).count("MatMulIntegerToFloat")) == (1, 1)
    with pytest.raises(QuantizeError, match=r"keep_fp32: the graph has no module that ends in no\.such"):
        quantize(source, tmp_path, INPUTS, ["no.such"])


def test_without_inputs_there_is_nothing_to_calibrate_on(source: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="calibration inputs"):
        quantize(source, tmp_path, [])
