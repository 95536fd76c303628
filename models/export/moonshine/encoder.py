"""The encoder as it is published, and after it what every step of the decoder needs of it.

- in: ``input_values``, float32 ``[1, samples]`` at 16 kHz
- out, per layer of the decoder: ``cross_key_<n>``, ``cross_value_<n>``, float32 ``[1, heads, frames, size]``
"""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from models.export.graph import Graph
from models.export.moonshine.layer import HEADS
from models.export.moonshine.source import Published, count_layers

HIDDEN = "last_hidden_state"


def encoder(source: Published, decoder: Published) -> ModelProto:
    """The graph of all that is computed once for an utterance.

    Args:
        source: the published encoder.
        decoder: the published decoder's first step, which makes keys and values of the frames.

    Raises:
        ExportError: they are not built as expected.
    """
    graph = Graph("encoder")
    shape = graph.add("Shape", "shape", [graph.input("input_values", [1, "samples"])])
    # Nothing is padded: one utterance at a time, and all of it counts.
    graph.add("ConstantOfShape", "attention_mask", [shape], value=numpy_helper.from_array(np.ones(1, np.int64)))
    graph.take(source.nodes, source.used_by(source.nodes))
    hidden = graph.quantized(HIDDEN)
    for layer in range(count_layers(decoder)):
        for part in ("key", "value"):
            module = f"/model/decoder/layers.{layer}/encoder_attn/{part[0]}_proj/MatMul_quant"
            _add_heads(graph, f"cross_{part}_{layer}", hidden, decoder.weights(module))
    return graph.model()


def _add_heads(graph: Graph, name: str, hidden: tuple[str, str, str], weights: Sequence[TensorProto]) -> None:
    """Keys or values, by heads, as the decoder multiplies them."""
    size = weights[0].dims[1] // HEADS
    shape = graph.constant("split", np.array([1, -1, HEADS, size]))
    product = graph.product_of_int8(f"{name}_product", hidden, weights)
    split = graph.add("Reshape", f"{name}_split", [product, shape])
    graph.add("Transpose", name, [split], perm=[0, 2, 1, 3])
    graph.output(name, [1, HEADS, "frames", size])
