"""Writing an ONNX graph node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

IR_VERSION = 10
OPSET = 18
MICROSOFT = "com.microsoft"
"""Operators of onnxruntime itself: int8 products with scales found on the fly."""

EPSILON = 1e-5
"""Of layer normalisation."""

Shape = Sequence[int | str]


class Graph:
    """A graph under way. Nodes have one output, named like the node, unless told otherwise.

    Args:
        name: of the graph.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> str:
        """Something that is given at each run."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> None:
        """Something that comes out."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def weight(self, tensor: TensorProto) -> str:
        """A tensor of the source, kept under its own name."""
        self._weights[tensor.name] = tensor
        return str(tensor.name)

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """A tensor that the source has not got; the same name is the same tensor."""
        return self.weight(numpy_helper.from_array(values, name))

    def add(self, kind: str, name: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """A node, and its one output."""
        self.add_several(kind, (name,), inputs, domain, **attributes)
        return name

    def add_several(
        self, kind: str, names: Sequence[str], inputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> None:
        """A node of several outputs."""
        self._nodes.append(helper.make_node(kind, inputs, names, names[0], domain=domain, **attributes))

    def norm(self, name: str, hidden: str, weights: Sequence[TensorProto]) -> str:
        """Layer normalisation with these scales and offsets."""
        inputs = [hidden, *map(self.weight, weights)]
        return self.add("LayerNormalization", name, inputs, epsilon=EPSILON, axis=-1)

    def product(self, name: str, left: str, right: Sequence[TensorProto | None]) -> str:
        """With an int8 matrix; its inputs as in the source: what is computed, matrix, scale, zero and, if any, bias."""
        inputs = [left, *("" if weight is None else self.weight(weight) for weight in right[1:])]
        return self.add("DynamicQuantizeMatMul", name, inputs, MICROSOFT)

    def quantized(self, name: str) -> tuple[str, str, str]:
        """As int8 with a scale found on the fly: numbers, scale and zero."""
        names = (f"{name}_int8", f"{name}_scale", f"{name}_zero")
        self.add_several("DynamicQuantizeLinear", names, [name])
        return names

    def product_of_int8(self, name: str, left: tuple[str, str, str], right: Sequence[TensorProto]) -> str:
        """Of what is quantized with an int8 matrix: matrix, scale, zero and, if any, bias."""
        matrix, scale, zero, *bias = map(self.weight, right)
        inputs = [left[0], matrix, left[1], scale, left[2], zero, *bias]
        return self.add("MatMulIntegerToFloat", name, inputs, MICROSOFT)

    def width(self, name: str) -> int:
        """Columns of a weight."""
        return int(self._weights[name].dims[-1])

    def take(self, nodes: Sequence[NodeProto], weights: Mapping[str, TensorProto]) -> None:
        """Nodes of the source as they are."""
        self._nodes += nodes
        self._weights |= weights

    def model(self) -> ModelProto:
        """All of it, checked."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, list(self._weights.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model
