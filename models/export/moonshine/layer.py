"""A layer of the decoder, for one utterance and one token of each of its hypotheses."""

import numpy as np
from onnx import TensorProto, numpy_helper

from models.export.graph import MICROSOFT, Graph
from models.export.moonshine.source import Published

HEADS = 8


class Layer:
    """Writes its three parts into a graph; each takes the hidden state, and returns the next one.

    Args:
        source: the published decoder.
        graph: has ``position``, ``cosines`` and ``sines``.
        number: which layer, from 0.
    """

    def __init__(self, source: Published, graph: Graph, number: int) -> None:
        self._source, self._graph, self._number = source, graph, number
        width = numpy_helper.to_array(self._weights("input_layernorm/LayerNormalization")[0]).size
        self._size = width // HEADS
        self._shapes = {
            "heads": graph.constant("heads", np.array([-1, HEADS, 1, self._size])),
            "joined": graph.constant("joined", np.array([-1, 1, width])),
        }
        self.looked = f"looked_{number}"
        """How much each head's cross-attention looked at each frame."""

    def self_attended(self, hidden: str) -> str:
        """With what the tokens before say; makes ``key_<n>`` and ``value_<n>``."""
        graph, number = self._graph, self._number
        normed = graph.norm(f"self_norm_{number}", hidden, self._weights("input_layernorm/LayerNormalization"))
        quantized = graph.quantized(normed)
        query, key, value = (self._projected(part, quantized) for part in "qkv")
        keys = self._remembered("key", self._turned(key))
        values = self._remembered("value", value)
        weights = self._compared(f"self_{number}", self._turned(query), keys)
        return self._mixed("self_attn", hidden, weights, values)

    def cross_attended(self, hidden: str) -> str:
        """With what the frames say."""
        graph, number = self._graph, self._number
        normed = graph.norm(
            f"cross_norm_{number}", hidden, self._weights("post_attention_layernorm/LayerNormalization")
        )
        product = graph.product(f"cross_q_{number}", normed, self._inputs("encoder_attn/q_proj/MatMul_quant"))
        query = graph.add("Reshape", f"cross_query_{number}", [product, self._shapes["heads"]])
        keys, values = (
            graph.input(f"cross_{part}_{number}", [1, HEADS, "frames", self._size]) for part in ("key", "value")
        )
        return self._mixed("encoder_attn", hidden, self._compared(self.looked, query, keys), values)

    def fed_forward(self, hidden: str) -> str:
        """Through a gated layer (Shazeer 2020, SwiGLU)."""
        graph, number = self._graph, self._number
        normed = graph.norm(f"mlp_norm_{number}", hidden, self._weights("final_layernorm/LayerNormalization"))
        wide = graph.product(f"wide_{number}", normed, self._inputs("mlp/fc1/MatMul_quant"))
        graph.add_several("Split", [f"up_{number}", f"gate_{number}"], [wide], axis=-1, num_outputs=2)
        gate = graph.add("QuickGelu", f"open_{number}", [f"gate_{number}"], MICROSOFT, alpha=1.0)
        gated = graph.add("Mul", f"gated_{number}", [gate, f"up_{number}"])
        out = graph.product(f"narrow_{number}", gated, self._inputs("mlp/fc2/MatMul_quant"))
        return graph.add("Add", f"fed_{number}", [hidden, out])

    def _projected(self, part: str, quantized: tuple[str, str, str]) -> str:
        """A query, key or value of this token, by heads."""
        graph, name = self._graph, f"{part}_{self._number}"
        weights = self._weights(f"self_attn/{part}_proj/MatMul_quant")
        product = graph.product_of_int8(f"{name}_product", quantized, weights)
        return graph.add("Reshape", name, [product, self._shapes["heads"]])

    def _turned(self, vectors: str) -> str:
        inputs = [vectors, "position", "cosines", "sines"]
        width = 2 * self._graph.width("cosines")
        options = {"interleaved": 1, "num_heads": HEADS, "rotary_embedding_dim": width}
        return self._graph.add("RotaryEmbedding", f"{vectors}_turned", inputs, MICROSOFT, **options)

    def _remembered(self, part: str, new: str) -> str:
        """Those of the steps before and this one's."""
        past = self._graph.input(f"past_{part}_{self._number}", ["rows", HEADS, "steps", self._size])
        longer = self._graph.add("Concat", f"{part}_{self._number}", [past, new], axis=2)
        self._graph.output(longer, ["rows", HEADS, "steps + 1", self._size])
        return longer

    def _compared(self, name: str, query: str, keys: str) -> str:
        scores = self._graph.add(
            "FusedMatMul", f"{name}_scores", [query, keys], MICROSOFT, alpha=self._size**-0.5, transB=1
        )
        return self._graph.add("Softmax", name, [scores], axis=-1)

    def _mixed(self, module: str, hidden: str, weights: str, values: str) -> str:
        graph, name = self._graph, f"{module}_{self._number}"
        found = graph.add("MatMul", f"{name}_found", [weights, values])
        joined = graph.add("Reshape", f"{name}_joined", [found, self._shapes["joined"]])
        out = graph.product(f"{name}_out", joined, self._inputs(f"{module}/o_proj/MatMul_quant"))
        return graph.add("Add", name, [hidden, out])

    def _weights(self, node: str) -> list[TensorProto]:
        return self._source.weights(f"/model/decoder/layers.{self._number}/{node}")

    def _inputs(self, node: str) -> list[TensorProto | None]:
        return self._source.inputs(f"/model/decoder/layers.{self._number}/{node}")
