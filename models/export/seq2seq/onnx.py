"""Weights of a checkpoint -> ``encoder.onnx`` and ``decoder.onnx``, checked against torch before anything is kept.

The encoder puts out what every decoder layer attends to, so that it is computed once:

- in: ``input_ids``, ``attention_mask``, int64 ``[batch, source]``
- out, per layer: ``cross_key_<n>``, ``cross_value_<n>``, float32 ``[batch, heads, source, size]``

The decoder takes one step:

- in: ``input_ids``, int64 ``[batch, 1]``; ``attention_mask`` of the source; per layer ``cross_…`` and the earlier
  steps' ``past_key_<n>``, ``past_value_<n>``, float32 ``[batch, heads, steps, size]``, where steps may be none
- out: ``log_probs``, float32 ``[batch, vocabulary]``; ``attention``, float32 ``[batch, source]``; per layer
  ``key_<n>``, ``value_<n>``, one step longer
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from models.export import ExportError
from models.export.onnx import MAX_PARITY_ERROR, OPSET, forget_the_machine
from models.export.seq2seq.checkpoint import Checkpoint
from models.export.seq2seq.weight_only import quantize_weights
from services.core.catalog import Precision
from services.engines.decoder import DecoderSettings
from services.engines.onnx_seq2seq import tensor_names


class _Encoder(nn.Module):
    """Source -> keys and values of every decoder layer's cross-attention."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.encoder = checkpoint.model.get_encoder()
        self.attentions = nn.ModuleList(_cross_attentions(checkpoint))
        self.heads = _heads(checkpoint)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        projections = [_projections(attention) for attention in self.attentions]
        return tuple(self._split(project(hidden)) for pair in projections for project in pair)

    def _split(self, projected: Tensor) -> Tensor:
        batch, length, _ = projected.shape
        return projected.view(batch, length, self.heads, -1).transpose(1, 2)


class _Step(nn.Module):
    """One token and the past -> log probabilities of the next token, and a longer past."""

    def __init__(self, checkpoint: Checkpoint, decoder: DecoderSettings) -> None:
        super().__init__()
        self.model = checkpoint.model
        self.layer = decoder.attention_layer
        allowed = torch.zeros(checkpoint.model.config.vocab_size)
        allowed[list(decoder.never)] = -torch.inf
        self.register_buffer("allowed", allowed)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, cross: list[Tensor], past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        # Only its shape is looked at: keys and values of the source are in the cache.
        source = cross[0].new_zeros((*attention_mask.shape, self.model.config.d_model))
        answer = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=source),
            attention_mask=attention_mask,
            decoder_input_ids=input_ids,
            past_key_values=EncoderDecoderCache(_cache(past), _cache(cross)),
            use_cache=True,
            output_attentions=True,
        )
        chances = (answer.logits[:, -1] + self.allowed).log_softmax(dim=-1)
        attention = answer.cross_attentions[self.layer].mean(dim=1)[:, -1]
        layers = answer.past_key_values.self_attention_cache.layers
        return (chances, attention, *(tensor for layer in layers for tensor in (layer.keys, layer.values)))


def _cache(tensors: Sequence[Tensor]) -> DynamicCache:
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        cache.update(keys, values, layer)
    return cache


def _cross_attentions(checkpoint: Checkpoint) -> list[nn.Module]:
    decoder = checkpoint.model.get_decoder()
    if checkpoint.family in ("t5", "mt5"):
        return [block.layer[1].EncDecAttention for block in decoder.block]
    return [layer.encoder_attn for layer in decoder.layers]


def _heads(checkpoint: Checkpoint) -> int:
    config = checkpoint.model.config
    return int(config.num_heads if checkpoint.family in ("t5", "mt5") else config.decoder_attention_heads)


def _projections(attention: nn.Module) -> tuple[Any, Any]:
    """Of keys and of values."""
    return (attention.k, attention.v) if hasattr(attention, "k") else (attention.k_proj, attention.v_proj)


def write_onnx(checkpoint: Checkpoint, decoder: DecoderSettings, precision: Precision, target: Path) -> dict[str, Any]:
    """Write both graphs.

    Raises:
        ExportError: they compute something else than the torch model.
    """
    encoder, step = _Encoder(checkpoint).eval(), _Step(checkpoint, decoder).eval()
    _export_encoder(encoder, decoder, target / "encoder.onnx")
    _export_decoder(encoder, step, decoder, target / "decoder.onnx")
    error = max(_parity_error(encoder, step, decoder, target, *shape) for shape in [(1, 4, 0), (3, 9, 1), (2, 20, 7)])
    if not error <= MAX_PARITY_ERROR:  # a NaN is not, either
        raise ExportError(f"ONNX log probabilities differ from torch by {error:.2g}; the limit is {MAX_PARITY_ERROR:g}")
    if precision == Precision.INT8:
        for name in ("encoder.onnx", "decoder.onnx"):
            quantize_weights(target / name)
    sizes = [(target / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx")]
    return {"parity_error": error, "bytes": sum(sizes)}


_BATCH, _SOURCE = torch.export.Dim("batch", min=1), torch.export.Dim("source", min=2)
_PAST = torch.export.Dim("past", min=0)


def _export_encoder(encoder: nn.Module, decoder: DecoderSettings, file: Path) -> None:
    of_text = {0: _BATCH, 1: _SOURCE}
    _export(
        encoder,
        _source(decoder, 2, 7),
        file,
        ["input_ids", "attention_mask"],
        tensor_names(decoder.layers, "cross"),
        {"input_ids": of_text, "attention_mask": of_text},
    )


def _export_decoder(encoder: nn.Module, step: nn.Module, decoder: DecoderSettings, file: Path) -> None:
    count = 2 * decoder.layers
    _export(
        step,
        _step_inputs(encoder, decoder, 2, 7, 3),
        file,
        ["input_ids", "attention_mask", *tensor_names(decoder.layers, "cross"), *tensor_names(decoder.layers, "past")],
        ["log_probs", "attention", *tensor_names(decoder.layers)],
        {
            "input_ids": {0: _BATCH},
            "attention_mask": {0: _BATCH, 1: _SOURCE},
            "cross": [{0: _BATCH, 2: _SOURCE}] * count,
            "past": [{0: _BATCH, 2: _PAST}] * count,
        },
    )


def _export(
    model: nn.Module, inputs: tuple[Any, ...], file: Path, read: list[str], written: list[str], shapes: dict[str, Any]
) -> None:
    torch.onnx.export(
        model,
        inputs,
        str(file),
        input_names=read,
        output_names=written,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        dynamic_shapes=shapes,
        verbose=False,
    )
    forget_the_machine(file)


def _source(decoder: DecoderSettings, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Random ids with a ragged mask, so that a graph that ignores the mask fails parity."""
    generator = torch.Generator().manual_seed(batch * 1000 + length)
    ids = torch.randint(5, 100, (batch, length), generator=generator)
    lengths = length - torch.arange(batch) % max(1, length - 2)
    mask = (torch.arange(length)[None, :] < lengths[:, None]).long()
    return torch.where(mask == 1, ids, decoder.pad), mask


def _step_inputs(encoder: nn.Module, decoder: DecoderSettings, batch: int, length: int, past: int) -> tuple[Any, ...]:
    ids, mask = _source(decoder, batch, length)
    with torch.inference_mode():
        cross = [tensor.clone() for tensor in encoder(ids, mask)]
    generator = torch.Generator().manual_seed(past)
    shape = (batch, cross[0].shape[1], past, cross[0].shape[3])
    earlier = [torch.randn(shape, generator=generator) for _ in cross]
    return ids[:, :1].clone(), mask, cross, earlier


def _parity_error(
    encoder: nn.Module, step: nn.Module, decoder: DecoderSettings, folder: Path, batch: int, length: int, past: int
) -> float:
    ids, mask = _source(decoder, batch, length)
    token, _, cross, earlier = inputs = _step_inputs(encoder, decoder, batch, length, past)
    with torch.inference_mode():
        expected = [*cross, *step(*inputs)]
    names = tensor_names(decoder.layers, "cross") + tensor_names(decoder.layers, "past")
    feeds = dict(zip(names, [*cross, *earlier], strict=True)) | {"input_ids": token, "attention_mask": mask}
    found = _run(folder / "encoder.onnx", {"input_ids": ids, "attention_mask": mask})
    found += _run(folder / "decoder.onnx", feeds)
    return max(
        float(np.abs(np.nan_to_num(one, neginf=0) - np.nan_to_num(other.numpy(), neginf=0)).max())
        for one, other in zip(found, expected, strict=True)
    )


def _run(graph: Path, feeds: dict[str, Tensor]) -> list[Any]:
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})
    return found
