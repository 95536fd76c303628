"""Owns the network definitions that training recipes and the ONNX export share."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertModel


def load_trunk(path: Path, dropout: float = 0.0) -> BertModel:
    """Read a BERT trunk at fp32, without the pooler (pooling is ours).

    Eager attention is the form that exports with a dynamic batch and length,
    and on CPU it also trains faster than the fused kernel.
    """
    trunk: BertModel = BertModel.from_pretrained(
        str(path),
        add_pooling_layer=False,
        attn_implementation="eager",
        dtype=torch.float32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=0.0,
    )
    return trunk


class EncoderClassifier(nn.Module):
    """Mean-pooled encoder with a linear head; returns calibrated logits."""

    temperature: Tensor

    def __init__(self, trunk: BertModel, labels: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.config.hidden_size, labels)
        self.register_buffer("temperature", torch.tensor([temperature]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits [batch, labels] divided by the temperature."""
        hidden = self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (hidden.float() * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        # The head is tiny: fp32 keeps mixed-precision training exact where it matters.
        with torch.autocast(pooled.device.type, enabled=False):
            logits: Tensor = self.head(pooled)
        return logits / self.temperature

    @classmethod
    def load(cls, trunk: Path, weights: Path) -> EncoderClassifier:
        """Merge the adapter in `weights` into the trunk; eval mode, fp32."""
        adapted = PeftModel.from_pretrained(load_trunk(trunk), str(weights))
        head = load_file(str(weights / "head.safetensors"))
        model = cls(adapted.merge_and_unload(), labels=head["weight"].shape[0])
        model.head.load_state_dict({name: head[name].float() for name in ("weight", "bias")})
        model.temperature.copy_(head["temperature"].float())
        return model.float().eval()
