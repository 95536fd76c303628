"""fp32 graph -> int8 graph without calibration: products' weights and lookup tables as bytes.

onnxruntime's block kernel (``MatMulNBits``) has a scale per 32 weights and quantizes each row of activations by itself,
as it comes: unlike dynamic quantization, which has one scale for the whole batch, an item does not depend on its
company.
"""

from pathlib import Path

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

_INTEGERS = 4
"""``accuracy_level`` at which activations are int8, too."""


def quantize_weights(file: Path) -> None:
    """Rewrite a graph in place."""
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, accuracy_level=_INTEGERS, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(file), algo_config=config)
    quantizer.process()
    onnx.save(quantizer.model.model, file)
