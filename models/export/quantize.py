"""fp32 ONNX artefact -> int8: dynamic quantization of weights, one scale per output channel.

Per channel costs nothing at run time and keeps far more of the model than one scale per tensor.
"""

import logging
import shutil
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic


def quantize(source: Path, target: Path) -> None:
    """Quantize ``source/model.onnx`` into ``target``; the other files of the artefact are copied."""
    graph = onnx.load(source / "model.onnx")
    # Shapes the exporter recorded for its example inputs contradict what the quantizer infers.
    del graph.graph.value_info[:]
    # It advises a pre-processing step on every call, on the root logger; on these graphs the step changes nothing.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(graph, target / "model.onnx", per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)
    for file in source.iterdir():
        if file.name not in ("model.onnx", "manifest.json"):
            shutil.copy(file, target / file.name)
