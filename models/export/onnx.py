"""torch encoders -> ``model.onnx`` (fp32) + ``tokenizer.json``, checked against torch before anything is kept.

Graph: inputs ``input_ids`` and ``attention_mask``, int64 ``[batch, length]``; output ``logits``, float32
``[batch, labels]``. Any batch and length up to the model's limit.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from models.architectures import EncoderClassifier
from models.export import ExportError
from services.core.catalog import ModelSpec

OPSET = 20
SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes the modules a node came from, outermost first."""
MAX_PARITY_ERROR = 1e-3


def export_mean_pooled_classifier(_: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``trunk`` (a BERT checkpoint) + ``weights`` (LoRA adapter and head), merged."""
    model = EncoderClassifier.load(sources["trunk"], sources["weights"])
    shutil.copy(sources["trunk"] / "tokenizer.json", target / "tokenizer.json")
    return _export(model, target)


def export_sequence_classification(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``checkpoint``: any transformers sequence-classification checkpoint with a ``tokenizer.json``.

    Raises:
        ExportError: the catalog's labels are not the checkpoint's, in its order.
    """
    folder = sources["checkpoint"]
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager", trust_remote_code=False, use_safetensors=True, local_files_only=True
    )
    labels = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    named = not all(label.startswith("LABEL_") for label in labels)  # transformers' stand-in for unnamed labels
    if len(labels) != len(spec.labels) or (named and labels != spec.labels):
        raise ExportError(f"{spec.id}: the checkpoint's labels are {list(labels)}, the catalog's {list(spec.labels)}")
    shutil.copy(folder / "tokenizer.json", target / "tokenizer.json")
    return _export(_LogitsOnly(model), target)


class _LogitsOnly(nn.Module):
    """A transformers model as a plain function of ids and mask."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _export(model: nn.Module, target: Path) -> dict[str, Any]:
    # Wrappers are born in train mode; a graph traced so keeps its dropout.
    model.eval()
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=2)
    torch.onnx.export(
        model,
        _inputs(2, 16),
        str(target / "model.onnx"),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        dynamic_shapes={"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}},
        verbose=False,
    )
    forget_the_machine(target / "model.onnx")
    error = float(
        np.max([_parity_error(model, target / "model.onnx", *shape) for shape in [(1, 5), (3, 40), (8, 128)]])
    )
    if not error <= MAX_PARITY_ERROR:  # a NaN is not, either
        raise ExportError(f"ONNX logits differ from torch by {error:.2g}; the limit is {MAX_PARITY_ERROR:g}")
    return {"parity_error": error, "bytes": (target / "model.onnx").stat().st_size}


def forget_the_machine(file: Path) -> None:
    """Drop the stack traces the exporter writes on every node: they hold this machine's paths. Module names stay."""
    graph = onnx.load(file)
    for node in graph.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(graph, file)


def _inputs(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Random ids with a ragged mask, so that a graph that ignores the mask fails parity."""
    generator = torch.Generator().manual_seed(batch * 1000 + length)
    ids = torch.randint(5, 100, (batch, length), generator=generator)
    lengths = torch.arange(batch) % max(1, length - 2)
    return ids, (torch.arange(length)[None, :] < (length - lengths)[:, None]).long()


def _parity_error(model: nn.Module, graph: Path, batch: int, length: int) -> float:
    ids, mask = _inputs(batch, length)
    with torch.inference_mode():
        expected = model(ids, mask).numpy()
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
    return float(np.abs(expected - found).max())
