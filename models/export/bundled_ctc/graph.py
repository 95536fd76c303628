"""Trunk and network as one ONNX graph: ``input_values`` [batch, samples] -> ``logits``.

The network's part is checked against torch, on what the trunk makes of noise, before anything is kept.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto, compose
from torch import Tensor, nn

from models.export import ExportError
from models.export.bundled_ctc.network import Network
from models.export.bundled_ctc.trunk import OPSET, STATES, WIDTH
from models.export.onnx import MAX_PARITY_ERROR, forget_the_machine

_LENGTHS = (1, 16_000, 70_000)
"""Samples of the utterances that are compared."""


class _Alone(nn.Module):
    """The network on one utterance, which has no padding."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.network(states, torch.ones_like(states[:, :, :1]))
        return logits


def write_graph(trunk: ModelProto, network: Network, file: Path) -> dict[str, Any]:
    """Write both as one; tells the largest difference from torch.

    Raises:
        ExportError: the graph computes something else.
    """
    alone = _Alone(network).eval()
    merged = compose.merge_models(trunk, _exported(alone), io_map=[(STATES, "trunk_states")])
    del merged.metadata_props[:]
    onnx.save(merged, file)
    whole, part = _session(merged), _session(trunk)
    error = max(_parity_error(alone, whole, part, length) for length in _LENGTHS)
    if not error <= MAX_PARITY_ERROR:  # a NaN is not, either
        raise ExportError(f"ONNX log probabilities differ from torch by {error:.2g}; the limit is {MAX_PARITY_ERROR:g}")
    return {"parity_error": error, "bytes": file.stat().st_size}


def _exported(network: nn.Module) -> ModelProto:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=1)
        torch.onnx.export(
            network,
            (torch.zeros(2, 7, WIDTH),),
            str(file),
            input_names=["trunk_states"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            dynamic_shapes={"states": {0: batch, 1: frames}},
            verbose=False,
        )
        forget_the_machine(file)
        model = onnx.load(file)
    model.ir_version = 10
    return model


def _session(model: ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _parity_error(network: nn.Module, whole: ort.InferenceSession, part: ort.InferenceSession, samples: int) -> float:
    """Largest difference between the merged graph, and torch on what the trunk makes."""
    wave: NDArray[np.float32] = np.random.default_rng(samples).normal(size=(1, samples)).astype(np.float32) * 0.1
    feeds = {"input_values": wave}
    with torch.inference_mode():
        expected = network(torch.from_numpy(part.run(None, feeds)[0])).numpy()
    return float(np.abs(whole.run(None, feeds)[0] - expected).max())
