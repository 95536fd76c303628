"""What Moonshine (Jeffries et al. 2024, arXiv:2410.15608) makes of sound: the first layers of its published encoder.

Waveform [batch, samples] -> states [batch, frames, 288], one every 24 ms. Before them, each waveform is brought to one
loudness, whatever silence it has, and gets some silence at both ends, as quiet rooms have it. The numbers are the
published int8 and fp32 ones; convolutions are kept as float16.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from models.export import ExportError
from models.export.moonshine.source import open_published

FILE = "encoder_model.ort"
STATES = "states"
WIDTH = 288
LAYERS = 5
"""Of six: the last one is about how words are written, and digits of an unknown speaker are told as well without."""
STRIDE, FIELD = 384, 895
"""Samples from one frame to the next, and seen by one."""
SILENCE = 12 * STRIDE
"""Samples put before and after each waveform: a word that is cut tightly is not understood without."""
_NOISE = 5e-4
"""Root mean square of the noise in them, about 45 dB below speech."""
OPSET = 18
_LOUDNESS = 0.1
"""What the root of the fourth powers' sum over the squares' is made: speech counts, and silence does not."""
_QUIETEST = 1e-8
"""Of that ratio: digital silence stays what it is."""


def open_trunk(folder: Path) -> ModelProto:
    """The layers of the published encoder in ``folder`` that are used.

    Raises:
        ExportError: the file is something else.
    """
    graph, last = open_published(folder / FILE), f"/layers.{LAYERS - 1}/Add_1_output_0"
    if not any(last in node.output for node in graph.node):
        raise ExportError(f"{FILE} is not the Moonshine that the exporter knows: it makes no {last}")
    _keep_what_makes(last, graph)
    _halve(graph)
    return _finished(graph, last)


def _keep_what_makes(last: str, graph: GraphProto) -> None:
    """Drop nodes and weights that ``last`` does not need. Nodes are in the order in which they run."""
    needed, kept = {last}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def _finished(graph: GraphProto, last: str) -> ModelProto:
    """With loudness before the layers, and a name for what they make."""
    for node in graph.node:
        node.input[:] = ["evened" if name == "input_values" else name for name in node.input]
        node.output[:] = [STATES if name == last else name for name in node.output]
    evened, constants = _evened()
    whole = helper.make_graph(
        [*evened, *graph.node],
        "trunk",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info(STATES, TensorProto.FLOAT, ["batch", "frames", WIDTH])],
        [*constants, *graph.initializer],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(whole, opset_imports=opsets, ir_version=10)


def _halve(graph: GraphProto) -> None:
    """Convolutions' weights as float16, cast back when the graph is opened."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 3:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _silence() -> NDArray[np.float32]:
    """Noise [1, samples]; after digital silence, a word that is cut tightly begins with a click."""
    return np.random.default_rng(1).normal(0, _NOISE, (1, SILENCE)).astype(np.float32)


def _evened() -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Nodes that make ``evened``, with its mask, of ``input_values``, and their constants."""
    node = helper.make_node
    nodes = [
        node("Mul", ["input_values", "input_values"], ["squares"]),
        node("Mul", ["squares", "squares"], ["fourths"]),
        node("ReduceSum", ["squares", "over_time"], ["squares_sum"]),
        node("ReduceSum", ["fourths", "over_time"], ["fourths_sum"]),
        node("Max", ["squares_sum", "quietest"], ["squares_floor"]),
        node("Div", ["fourths_sum", "squares_floor"], ["ratio"]),
        node("Max", ["ratio", "quietest"], ["ratio_floor"]),
        node("Sqrt", ["ratio_floor"], ["level"]),
        node("Div", ["wanted", "level"], ["gain"]),
        node("Mul", ["input_values", "gain"], ["loud"]),
        node("Shape", ["loud"], ["rows"], end=1),
        node("Concat", ["rows", "silence_samples"], ["silence_shape"], axis=0),
        node("Expand", ["silence", "silence_shape"], ["around"]),
        node("Concat", ["around", "loud", "around"], ["evened"], axis=1),
        node("Shape", ["evened"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["attention_mask"], value=numpy_helper.from_array(np.array([1], np.int64))),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "over_time"),
        numpy_helper.from_array(np.array([SILENCE], np.int64), "silence_samples"),
        numpy_helper.from_array(_silence(), "silence"),
        numpy_helper.from_array(np.array(_QUIETEST, np.float32), "quietest"),
        numpy_helper.from_array(np.array(_LOUDNESS, np.float32), "wanted"),
    ]
    return nodes, constants
