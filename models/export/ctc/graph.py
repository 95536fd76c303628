"""A network over waveforms -> ``model.onnx``, checked against torch before anything is kept.

Graph: input ``input_values``, float32 ``[batch, samples]``; output ``logits``, float32 ``[batch, frames, tokens]``. It
takes no attention mask, because waveforms run one by one: padding changes what a network with a norm over time
computes (wav2vec2-base), mask or not, and in int8 even a batch of equal lengths is not its parts. Only those with layer
norms (wav2vec2-large), in fp32 and with a mask, would be the same in a batch, within 1e-5; on a CPU they would gain
nothing: wav2vec2-base takes as long for four waveforms of 10 s together as for each alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor, nn

from models.export import ExportError
from models.export.onnx import MAX_PARITY_ERROR, OPSET, forget_the_machine
from services.core.audio import SPEECH_RATE
from services.core.catalog import Precision
from services.engines.ctc.format import CtcFormat


class _LogitsOnly(nn.Module):
    """A transformers model as a plain function of waveforms."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: Tensor) -> Tensor:
        logits: Tensor = self.model(input_values).logits
        return logits


def write_graph(model: nn.Module, settings: CtcFormat, precision: Precision, target: Path) -> dict[str, Any]:
    """Write the graph in fp32 or int8.

    Raises:
        ExportError: another precision is asked for, or the graph computes something else than the network.
    """
    if precision not in (Precision.FP32, Precision.INT8):
        raise ExportError(f"CTC networks are not made in {precision}; use fp32 or int8")
    network, graph = _LogitsOnly(model).eval(), target / "model.onnx"
    _export(network, graph, 2 * SPEECH_RATE)
    error = max(_parity_error(network, graph, samples) for samples in _lengths(settings))
    if not error <= MAX_PARITY_ERROR:  # a NaN is not, either
        raise ExportError(f"ONNX logits differ from torch by {error:.2g}; the limit is {MAX_PARITY_ERROR:g}")
    if precision is Precision.INT8:
        quantize(graph)
    return {"parity_error": error, "bytes": graph.stat().st_size}


def _export(network: nn.Module, graph: Path, samples: int) -> None:
    length = torch.export.Dim("samples", min=samples // 16)
    torch.onnx.export(
        network,
        (_noise(2, samples),),
        str(graph),
        input_names=["input_values"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        dynamic_shapes={"input_values": {0: torch.export.Dim("batch", min=1), 1: length}},
        verbose=False,
    )
    forget_the_machine(graph)


def quantize(graph: Path) -> None:
    """Products on integers, a scale per output channel, and one per waveform for what flows in.

    On wav2vec2-base, CPU time for a second of sound: 0.155 s in fp32, 0.103 s so, and 0.233 s with the convolutions of
    the feature extractor on integers too (onnxruntime 1.31, one thread, AVX512 with VNNI): they stay as they are.
    """
    quantized = graph.with_suffix(".int8")
    quantize_dynamic(graph, quantized, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
    quantized.replace(graph)


def _lengths(settings: CtcFormat) -> tuple[int, ...]:
    """Samples: the fewest, some, and a number that no stride divides."""
    return settings.fewest_samples, SPEECH_RATE // 2, 3 * SPEECH_RATE + 77


def _noise(batch: int, samples: int) -> Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples)) / 10


def _parity_error(network: nn.Module, graph: Path, samples: int) -> float:
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    waves = _noise(1, samples)
    with torch.inference_mode():
        expected = network(waves).numpy()
    (found,) = session.run(None, {"input_values": waves.numpy()})
    return float(np.abs(expected - found).max()) if found.shape == expected.shape else np.inf
