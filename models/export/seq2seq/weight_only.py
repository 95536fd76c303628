"""fp32 graph -> int8 graph without calibration: products' weights and lookup tables as bytes.

onnxruntime's block kernel (``MatMulNBits``) has a scale per 32 weights, and quantizes each row of activations by
itself as it comes: unlike dynamic quantization, with its one scale for a whole batch, an item does not depend on its
company. onnxruntime's own tool for it rewrites products only, and sets up logging for the whole process.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from models.export.quantize import Floats, quantize_weight

BLOCK = 32
_TABLE_ROWS = 1024
"""Lookup tables shorter than this stay fp32: there is nothing to save."""
_INTEGERS = 4
"""``accuracy_level`` at which activations are int8, too."""
_MIDDLE = 128
"""The byte that means zero."""


def quantize_weights(file: Path) -> None:
    """Rewrite a graph in place."""
    model = onnx.load(file)
    graph = model.graph
    tables = _tables(graph)
    nodes = [new for node in graph.node for new in _replaced(graph, tables, node)]
    read = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    nodes = [node for node in nodes if read.intersection(node.output)]
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, file)


def _tables(graph: onnx.GraphProto) -> dict[str, Floats]:
    """Constant matrices by name; those that the graph turns round first (tied embeddings), turned round."""
    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT
    }
    turned = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in found]
    return found | {node.output[0]: found[node.input[0]].T for node in turned}


def _replaced(graph: onnx.GraphProto, tables: dict[str, Floats], node: NodeProto) -> list[NodeProto]:
    if node.op_type == "MatMul" and node.input[1] in tables:
        return [_product(graph, node, tables[node.input[1]])]
    if node.op_type == "Gather" and node.input[0] in tables:
        name = node.input[0]
        # Positions are added to everything, and few: they stay exact.
        small = len(tables[name]) < _TABLE_ROWS or "position" in name
        return [node] if small else _lookup(graph, node, tables[name])
    return [node]


def blocks(weight: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """``float32 [c, m]`` as bytes ``[m, c / 32, 32]``, zero being 128, and scales ``[m, c / 32]``; c is filled up."""
    inputs, outputs = weight.shape
    filled = np.zeros((-(-inputs // BLOCK) * BLOCK, outputs), np.float32)
    filled[:inputs] = weight
    grouped = filled.T.reshape(outputs, -1, BLOCK)
    scales = np.maximum(np.abs(grouped).max(axis=2) / 127, 1e-12).astype(np.float32)
    return (np.round(grouped / scales[..., None]) + _MIDDLE).astype(np.uint8), scales


def _product(graph: onnx.GraphProto, node: NodeProto, weight: Floats) -> NodeProto:
    integers, scales = blocks(weight)
    name = node.input[1]
    return helper.make_node(
        "MatMulNBits",
        [node.input[0], _constant(graph, f"{name}_blocks", integers), _constant(graph, f"{name}_scales", scales)],
        [node.output[0]],
        name=node.name,
        domain="com.microsoft",
        K=weight.shape[0],
        N=weight.shape[1],
        bits=8,
        block_size=BLOCK,
        accuracy_level=_INTEGERS,
    )


def _lookup(graph: onnx.GraphProto, node: NodeProto, table: Floats) -> list[NodeProto]:
    integers, scales = quantize_weight(np.ascontiguousarray(table.T))
    (name, ids), out = node.input, node.output[0]
    rows = _constant(graph, f"{name}_rows", np.ascontiguousarray(integers.T))
    steps = _constant(graph, f"{name}_steps", scales[:, None])
    return [
        helper.make_node("Gather", [rows, ids], [f"{out}_bytes"]),
        helper.make_node("Gather", [steps, ids], [f"{out}_step"]),
        helper.make_node("Cast", [f"{out}_bytes"], [f"{out}_levels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_levels", f"{out}_step"], [out]),
    ]


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    """Several nodes may read one weight; it is kept once."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(value, name))
    return name
