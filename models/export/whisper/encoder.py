"""The encoder of a converted model -> ``encoder.onnx``, for CPUs: onnxruntime takes half of CTranslate2's time.

- in: ``features``, float32 ``[batch, mels, 3000]``
- out: ``encoded``, float32 ``[batch, 1500, width]``

In int8, weights have a scale per output; what they are multiplied with gets one scale per product when the graph runs.
So windows run one by one, and what is heard in one does not depend on its batch; it takes no longer.
Source: Radford et al. 2022, section 2.2; layer norms come first, and keys have no bias.
"""

from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from models.export import ExportError
from models.export.graph import MICROSOFT, Graph
from models.export.whisper.variables import Floats, read_variables
from services.core.catalog import Precision
from services.core.engine import EngineOptions
from services.engines.onnx import open_session

_FRAMES = 3000
_BYTES = {Precision.FP32: 4, Precision.INT8: 1}
_LARGEST = 2**31 - 2**26
"""Bytes of weights in a graph of one file, which has 2 GiB at most."""

_MAX_ERROR = {Precision.FP32: 1e-3, Precision.INT8: 0.25}
"""Mean difference from CTranslate2's float32, as a share of the mean size; that of another network is about 1."""


def write_encoder(folder: Path, precision: Precision, target: Path) -> dict[str, Any]:
    """Write the graph of the model in ``folder``, in fp32 or int8; tells how far it is from CTranslate2's.

    Nothing is written of encoders too large for one file (2 GiB; only ``large`` in fp32 is): CTranslate2 runs those.

    Raises:
        ExportError: the model is no Whisper, or the graph computes something else.
    """
    variables = read_variables(folder / "model.bin", "encoder")
    if sum(values.size for values in variables.values()) * _BYTES[precision] >= _LARGEST:
        return {}
    try:
        graph = _Encoder(variables, precision).model()
    except KeyError as error:
        raise ExportError(f"{folder / 'model.bin'} is no Whisper: it lacks encoder/{error.args[0]}") from error
    except (IndexError, TypeError, ValueError) as error:
        raise ExportError(f"{folder / 'model.bin'} is no Whisper: {error}") from error
    onnx.save(graph, target)
    found, most = _parity_error(folder, target), _MAX_ERROR[precision]
    if not found <= most:  # a NaN is not, either
        target.unlink()
        raise ExportError(f"{target.name} differs from CTranslate2 by {found:.2g}; the limit is {most:g}")
    return {"parity_error": found}


class _Encoder:
    """The graph under way.

    Args:
        variables: of CTranslate2's encoder, by name.
        precision: of the products with weights.
    """

    def __init__(self, variables: dict[str, Floats], precision: Precision) -> None:
        self._variables = variables
        self._precision = precision
        self._graph = Graph("encoder")

    def model(self) -> onnx.ModelProto:
        """All of it."""
        graph, variables = self._graph, self._variables
        mels, width = variables["conv1/weight"].shape[1], variables["conv2/weight"].shape[0]
        heard = graph.input("features", ["batch", mels, _FRAMES])
        heard = self._convolved("conv1", heard, 1)
        heard = self._convolved("conv2", heard, 2)
        frames = graph.add("Transpose", "frames", [heard], perm=[0, 2, 1])
        hidden = graph.add("Add", "placed", [frames, self._constant("position_encodings/encodings")])
        for number in takewhile(lambda n: f"layer_{n}/ffn/linear_0/weight" in variables, count()):
            hidden = self._fed_forward(f"layer_{number}/ffn", self._attended(f"layer_{number}/self_attention", hidden))
        self._normed("layer_norm", hidden, "encoded")
        graph.output("encoded", ["batch", _FRAMES // 2, width])
        return graph.model()

    def _convolved(self, name: str, heard: str, stride: int) -> str:
        inputs = [heard, self._constant(f"{name}/weight"), self._constant(f"{name}/bias")]
        sums = self._graph.add("Conv", f"{name}_sums", inputs, kernel_shape=[3], pads=[1, 1], strides=[stride])
        return self._graph.add("Gelu", name, [sums], MICROSOFT)

    def _attended(self, name: str, hidden: str) -> str:
        normed = self._normed(f"{name}/layer_norm", hidden)
        weights, biases = (np.split(self._variables[f"{name}/linear_0/{part}"], 3) for part in ("weight", "bias"))
        names = [f"{name}/{part}" for part in ("query", "key", "value")]
        parts = self._products(names, normed, weights, biases)
        heads = int(self._variables["num_heads"])
        found = self._graph.add("MultiHeadAttention", f"{name}_found", parts, MICROSOFT, num_heads=heads)
        return self._graph.add("Add", name, [hidden, self._linear(f"{name}/linear_1", found)])

    def _fed_forward(self, name: str, hidden: str) -> str:
        wide = self._linear(f"{name}/linear_0", self._normed(f"{name}/layer_norm", hidden))
        narrow = self._linear(f"{name}/linear_1", self._graph.add("Gelu", f"{name}_gelu", [wide], MICROSOFT))
        return self._graph.add("Add", name, [hidden, narrow])

    def _normed(self, name: str, hidden: str, output: str = "") -> str:
        weights = [_tensor(f"{name}/{part}", self._variables[f"{name}/{part}"]) for part in ("gamma", "beta")]
        return self._graph.norm(output or name, hidden, weights)

    def _linear(self, name: str, hidden: str) -> str:
        """``hidden`` with the weight ``[outputs, inputs]`` of that name, and its bias."""
        return self._products([name], hidden, [self._variables[f"{name}/weight"]], [self._variables[f"{name}/bias"]])[0]

    def _products(
        self, names: Sequence[str], hidden: str, weights: Sequence[Floats], biases: Sequence[Floats]
    ) -> list[str]:
        """Several of the same ``hidden``, which is quantized once."""
        rows = zip(names, weights, biases, strict=True)
        if self._precision is Precision.FP32:
            return [self._product(name, hidden, weight, bias) for name, weight, bias in rows]
        shared = self._graph.quantized(hidden)
        return [self._graph.product_of_int8(name, shared, _tensors(name, weight, bias)) for name, weight, bias in rows]

    def _product(self, name: str, hidden: str, weight: Floats, bias: Floats) -> str:
        graph = self._graph
        matrix, offset = graph.constant(f"{name}/weight", _columns(weight)), graph.constant(f"{name}/bias", bias)
        return graph.add("Add", name, [graph.add("MatMul", f"{name}_product", [hidden, matrix]), offset])

    def _constant(self, name: str) -> str:
        return self._graph.constant(name, self._variables[name])


def _tensors(name: str, weight: Floats, bias: Floats) -> list[TensorProto]:
    """Of a product on integers: matrix, scale, zero and bias."""
    numbers, scales = quantized(weight)
    parts = {"weight": _columns(numbers), "scale": scales, "zero": np.zeros(len(scales), np.int8), "bias": bias}
    return [_tensor(f"{name}/{part}", values) for part, values in parts.items()]


def _tensor(name: str, values: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(values, name)


def _columns(weight: NDArray[Any]) -> NDArray[Any]:
    """``[inputs, outputs]``, as products want it."""
    return np.ascontiguousarray(weight.T)


def quantized(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Numbers ``[outputs, inputs]`` and scales ``[outputs]``, whose product the weight is."""
    largest = np.abs(weight).max(axis=1)
    scales = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    return np.round(weight / scales[:, None]).astype(np.int8), scales


def _parity_error(folder: Path, graph: Path) -> float:
    """How far the graph is from CTranslate2 in float32, on a window of noise, as a share of what it puts out."""
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    noise = np.random.default_rng(1).uniform(-1, 1, (1, model.n_mels, _FRAMES)).astype(np.float32)
    session = open_session(graph, EngineOptions(threads=1))
    (found,) = session.run(None, {"features": noise})
    expected = np.array(model.encode(ctranslate2.StorageView.from_array(noise), to_cpu=True))
    return float(np.abs(found - expected).mean() / np.abs(expected).mean())
