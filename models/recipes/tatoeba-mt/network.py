"""The Transformer, with M2M-100's arithmetic and parameter names, written for speed in training. Knows no data.

Source: Fan et al. 2020, "Beyond English-Centric Multilingual Machine Translation"; the names are those of
``transformers.M2M100ForConditionalGeneration``, which loads its weights.
"""

import math
from typing import cast

import torch
from config import NetworkConfig
from torch import Tensor, nn
from torch.nn import functional

PAD = 1


class Attention(nn.Module):
    """Multi-head attention; ``memory`` is what is attended to."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """[pairs, length, width]; ``mask`` is true where there is something to attend to."""
        q, k, v = self._split(self.q_proj(states)), self._split(self.k_proj(memory)), self._split(self.v_proj(memory))
        # Written out: on a CPU the backward pass of the fused attention takes longer than the rest of the network.
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(3, dtype=torch.float32).to(v.dtype)
        mixed: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each after a norm and beside a residual."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.self_attn = Attention(config)
        self.fc1 = nn.Linear(config.width, config.feed_forward)
        self.fc2 = nn.Linear(config.feed_forward, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[pairs, length, width]."""
        normed = self.self_attn_layer_norm(states)
        states = states + self.dropout(self.self_attn(normed, normed, mask))
        return self._fed(states)

    def _fed(self, states: Tensor) -> Tensor:
        inner = functional.relu(self.fc1(self.final_layer_norm(states)))
        fed: Tensor = states + self.dropout(self.fc2(inner))
        return fed


class DecoderLayer(EncoderLayer):
    """The same, with attention to the source between."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.width)
        self.encoder_attn = Attention(config)

    def decode(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """[pairs, target length, width]; ``mask`` is the source's."""
        normed = self.self_attn_layer_norm(states)
        states = states + self.dropout(self.self_attn(normed, normed, self._past(states.shape[1])))
        states = states + self.dropout(self.encoder_attn(self.encoder_attn_layer_norm(states), memory, mask))
        return self._fed(states)

    def _past(self, length: int) -> Tensor:
        return torch.ones(length, length, dtype=torch.bool, device=self.fc1.weight.device).tril()


class Stack(nn.Module):
    """Layers and the norm after them."""

    def __init__(self, layers: list[nn.Module], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.layer_norm = nn.LayerNorm(width)


class Network(nn.Module):
    """Encoder and decoder over one table of embeddings."""

    positions: Tensor

    def __init__(self, config: NetworkConfig, vocabulary: int, longest: int) -> None:
        super().__init__()
        self.shared = nn.Embedding(vocabulary, config.width, PAD)
        self.encoder = Stack([EncoderLayer(config) for _ in range(config.encoder_layers)], config.width)
        self.decoder = Stack([DecoderLayer(config) for _ in range(config.decoder_layers)], config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.scale = math.sqrt(config.width)
        self.register_buffer("positions", sinusoids(longest + 2, config.width)[2:], persistent=False)
        self.apply(_start)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """States [pairs, target length, width] for ids [pairs, length]; times ``shared`` they are logits."""
        mask = (source != PAD)[:, None, None, :]
        memory = self._embed(source)
        for layer in self.encoder.layers:
            memory = layer(memory, mask)
        memory = self.encoder.layer_norm(memory)
        states = self._embed(target)
        for layer in self.decoder.layers:
            states = cast("DecoderLayer", layer).decode(states, memory, mask)
        normed: Tensor = self.decoder.layer_norm(states)
        return normed

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.shared(ids) * self.scale + self.positions[: ids.shape[1]])
        return embedded


def sinusoids(length: int, width: int) -> Tensor:
    """[length, width]: sines, then cosines, as M2M-100 has them."""
    rates = torch.exp(torch.arange(width // 2) * -(math.log(10_000) / (width // 2 - 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        with torch.no_grad():
            module.weight[PAD].zero_()
