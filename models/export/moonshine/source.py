"""The graphs as they are published -> what of them is used.

They are in onnxruntime's own format, already int8 and fused, with one decoder for the first step and one for the
others as two branches of an ``If`` that share their weights.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime as ort
from onnx import GraphProto, NodeProto, TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile

from models.export import ExportError


class Published:
    """A graph's nodes, those of its branches too, by name and by what they make.

    Args:
        graph: of a model.
        branch: which of an ``If`` counts.
    """

    def __init__(self, graph: GraphProto, branch: str = "then_branch") -> None:
        inside = [part.g for node in graph.node for part in node.attribute if part.name == branch]
        graphs = [graph, *inside]
        self.nodes: list[NodeProto] = [node for one in graphs for node in one.node if node.op_type != "If"]
        self._named = {node.name: node for node in self.nodes}
        self._weights: dict[str, TensorProto] = {weight.name: weight for one in graphs for weight in one.initializer}

    def inputs(self, name: str) -> list[TensorProto | None]:
        """The weights among the inputs of a node; None for those that are computed, or left out.

        Raises:
            ExportError: there is no such node.
        """
        if name not in self._named:
            raise ExportError(f"this is not the Moonshine that the exporter knows: it has no node {name}")
        return [self._weights.get(one) for one in self._named[name].input]

    def weights(self, name: str) -> list[TensorProto]:
        """The weights among the inputs of a node."""
        return [weight for weight in self.inputs(name) if weight is not None]

    def used_by(self, nodes: Iterable[NodeProto]) -> dict[str, TensorProto]:
        """The weights of these nodes."""
        return {name: self._weights[name] for node in nodes for name in node.input if name in self._weights}


def open_published(file: Path) -> GraphProto:
    """A graph in onnxruntime's format, as one of ONNX; nothing in it is changed.

    Raises:
        ExportError: it is something else.
    """
    with TemporaryDirectory() as folder:
        written = Path(folder) / "model.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(written)
        options.add_session_config_entry("session.save_model_format", "ONNX")
        try:
            ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
            raise ExportError(f"{file.name} cannot be opened: {error}") from error
        return onnx.load(written).graph


def count_layers(decoder: Published) -> int:
    """How many layers the decoder has."""
    return sum(node.name.endswith("/encoder_attn/q_proj/MatMul_quant") for node in decoder.nodes)
