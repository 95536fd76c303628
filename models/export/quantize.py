"""fp32 ONNX artefact -> int8: dynamic quantization of weights, one scale per output channel.

Per channel costs nothing at run time and keeps far more of the model than one scale per tensor.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from models.export.onnx import SCOPES


def quantize(source: Path, target: Path, keep_fp32: Sequence[str] = ()) -> None:
    """Quantize ``source/model.onnx`` into ``target``; the other files of the artefact are copied.

    Args:
        source: fp32 artefact.
        target: folder to fill.
        keep_fp32: ends of module paths whose products stay fp32.

    Raises:
        ValueError: a name in ``keep_fp32`` is no module of the graph.
    """
    graph = onnx.load(source / "model.onnx")
    # Shapes the exporter recorded for its example inputs contradict what the quantizer infers.
    del graph.graph.value_info[:]
    # It advises a pre-processing step on every call, on the root logger; on these graphs the step changes nothing.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            graph,
            target / "model.onnx",
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for module in keep_fp32 for node in _products(graph, module)],
        )
    finally:
        logging.disable(logging.NOTSET)
    for file in source.iterdir():
        if file.name not in ("model.onnx", "manifest.json"):
            shutil.copy(file, target / file.name)


def _products(graph: onnx.ModelProto, module: str) -> list[onnx.NodeProto]:
    """The matrix products of a module."""
    found = [
        node
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm")
        and any(entry.key == SCOPES and f"{module}'" in entry.value for entry in node.metadata_props)
    ]
    if not found:
        raise ValueError(f"keep_fp32: the graph has no module that ends in {module}")
    return found
