"""The network as an ONNX graph: ``input_values`` and ``attention_mask`` [batch, samples] -> ``logits``.

The graph is checked against torch, alone and in a padded batch, before it is kept.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from models.export import ExportError
from models.export.bundled_ctc.network import Network
from models.export.onnx import MAX_PARITY_ERROR, OPSET, forget_the_machine

_LENGTHS = [(1,), (641,), (16_000, 9_000), (70_000, 300, 33_333)]
"""Samples of the utterances of each batch that is compared."""


def write_graph(network: Network, file: Path) -> dict[str, Any]:
    """Write it; tells the largest difference from torch.

    Raises:
        ExportError: the graph computes something else.
    """
    _export(network.eval(), file)
    forget_the_machine(file)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    error = max(_parity_error(network, session, lengths) for lengths in _LENGTHS)
    if not error <= MAX_PARITY_ERROR:  # a NaN is not, either
        raise ExportError(f"ONNX log probabilities differ from torch by {error:.2g}; the limit is {MAX_PARITY_ERROR:g}")
    return {"parity_error": error, "bytes": file.stat().st_size}


def _export(network: Network, file: Path) -> None:
    batch, samples = torch.export.Dim("batch", min=1), torch.export.Dim("samples", min=1)
    torch.onnx.export(
        network,
        _batch((4000, 3000)),
        str(file),
        input_names=["input_values", "attention_mask"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        dynamic_shapes={"wave": {0: batch, 1: samples}, "attention_mask": {0: batch, 1: samples}},
        verbose=False,
    )


def _batch(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Bursts of noise, and where they end; what lies past an end is noise, too."""
    generator = torch.Generator().manual_seed(sum(lengths))
    at = torch.arange(max(lengths))[None]
    wave = torch.randn(len(lengths), max(lengths), generator=generator) * 0.1 * (1 + (at / 3000).sin())
    return wave, (at < torch.tensor(lengths)[:, None]).long()


def _parity_error(network: Network, session: ort.InferenceSession, lengths: Sequence[int]) -> float:
    """Largest difference of a probability's logarithm between torch, one by one, and the graph, all at once."""
    wave, mask = _batch(lengths)
    found = session.run(["logits"], {"input_values": wave.numpy(), "attention_mask": mask.numpy()})[0]
    errors = []
    for row, one, length in zip(found, wave, lengths, strict=True):
        with torch.inference_mode():
            expected = network(one[None, :length], torch.ones(1, length, dtype=torch.long))[0].numpy()
        errors.append(np.abs(row[: len(expected)] - expected).max())
    return float(np.max(errors))
