"""One step of the decoder, written anew around the published weights.

The published graph works out shapes, masks and paddings again at every step, which takes longer than the arithmetic;
for one utterance and one token none of that is needed. What is computed is the same (Jeffries et al. 2024, "Moonshine:
Speech Recognition for Live Transcription and Voice Commands"; Su et al. 2021, "RoFormer", for the positions).

- in: ``input_ids``, int64 ``[rows, 1]``, a row for each hypothesis; per layer ``cross_key_<n>``, ``cross_value_<n>``,
  float32 ``[1, heads, frames, size]``, and the earlier steps' ``past_key_<n>``, ``past_value_<n>``,
  ``[rows, heads, steps, size]``
- out: ``tokens``, int64 ``[rows, choices]``, the most probable next ones, best first; ``log_probs``, float32, natural
  logarithms of their probabilities; ``attention``, float32 ``[rows, frames]``, what the heads in `ALIGNING` look
  at, on average; per layer ``key_<n>``, ``value_<n>``, one step longer
"""

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from models.export.graph import Graph
from models.export.moonshine.layer import Layer
from models.export.moonshine.source import Published, count_layers
from services.engines.moonshine.network import POSITIONS

ALIGNING = (46, 31, 38, 37)
"""Heads, counted over all layers, that follow the speech. Chosen one by one on 55 LJSpeech clips, as long as that
brought words nearer to where pocketsphinx's forced alignment begins them; on 55 others they are 42 ms from it."""

CHOICES = 4
"""Next tokens that a step tells, for each row."""


def decoder(source: Published) -> ModelProto:
    """The graph of a step.

    Args:
        source: the published decoder's later steps.

    Raises:
        ExportError: it is not built as expected.
    """
    graph = Graph("decoder")
    hidden = _embedding(source, graph)
    layers = [Layer(source, graph, number) for number in range(count_layers(source))]
    for layer in layers:
        hidden = layer.fed_forward(layer.cross_attended(layer.self_attended(hidden)))
    _choice(source, graph, hidden)
    looks = graph.add("Concat", "looks", [layer.looked for layer in layers], axis=1)
    some = graph.add("Gather", "aligned", [looks, graph.constant("aligning", np.array(ALIGNING))], axis=1)
    graph.add("ReduceMean", "attention", [some, graph.constant("heads_and_step", np.array([1, 2]))], keepdims=0)
    graph.output("attention", ["rows", "frames"])
    return graph.model()


def _embedding(source: Published, graph: Graph) -> str:
    """The token that is given; and how each position turns keys and queries."""
    graph.input("input_ids", ["rows", 1], TensorProto.INT64)
    (table,) = source.weights("/model/decoder/embed_tokens/Gather")
    scale = source.weights("/model/decoder/embed_tokens/Gather_output_0_DequantizeLinear")
    (frequencies,) = source.weights("/model/decoder/rotary_emb/Expand")
    angles = np.arange(POSITIONS, dtype=np.float32)[:, None] * numpy_helper.to_array(frequencies).reshape(1, -1)
    graph.constant("cosines", np.cos(angles))
    graph.constant("sines", np.sin(angles))
    graph.add("Shape", "position", ["past_key_0"], start=2, end=3)
    embedded = graph.add("Gather", "embedding_int8", [graph.weight(table), "input_ids"], axis=0)
    return graph.add("DequantizeLinear", "embedding", [embedded, *map(graph.weight, scale)])


def _choice(source: Published, graph: Graph, hidden: str) -> None:
    """The most probable tokens, and how probable they are."""
    normed = graph.norm("norm", hidden, source.weights("/model/decoder/norm/LayerNormalization"))
    logits = graph.product("logits", normed, source.inputs("/proj_out/MatMul_quant"))
    row = graph.add("Squeeze", "row", [logits, graph.constant("middle", np.array([1]))])
    graph.add_several("TopK", ["best", "tokens"], [row, graph.constant("choices", np.array([CHOICES]))], axis=-1)
    total = graph.add("ReduceLogSumExp", "total", [row, graph.constant("last", np.array([-1]))])
    graph.add("Sub", "log_probs", ["best", total])
    graph.output("tokens", ["rows", CHOICES], TensorProto.INT64)
    graph.output("log_probs", ["rows", CHOICES])
