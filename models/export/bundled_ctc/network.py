"""The network that spots words in what the trunk hears: states -> log probabilities of words, frame by frame.

Shared by training and export. Knows no data, no words and no sound (see `trunk`). Words are told in every frame of
them, and read as CTC's tokens are: those of frames in a row are one.

Source: residual convolutions over time as in QuartzNet, Kriman et al. 2020 (arXiv:1910.10261).
"""

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional


class NetworkSizes(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: int
    """Width of the trunk's states."""
    tokens: int
    width: int
    kernel: int
    """Frames that a convolution sees; odd."""
    blocks: int


class Block(nn.Module):
    """A convolution over time, beside a residual."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, frames, width]; ``mask`` [batch, frames, 1]."""
        normed = self.norm(states) * mask
        mixed: Tensor = self.dropout(functional.gelu(self.time(normed.transpose(1, 2)).transpose(1, 2)))
        return states + mixed


class Network(nn.Module):
    """States -> log probabilities of tokens."""

    def __init__(self, sizes: NetworkSizes, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(sizes.inputs)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(2 * sizes.inputs, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes.width, sizes.kernel, dropout) for _ in range(sizes.blocks))
        self.out = nn.Linear(sizes.width, sizes.tokens)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, frames, tokens] of [batch, states, inputs], a frame for every two states, the last of which may lack.

        The mask [batch, states, 1] is 1 before the end.
        """
        normed = functional.pad(self.norm(states) * mask, (0, 0, 0, 1))
        pairs = torch.cat([normed[:, :-1:2], normed[:, 1::2]], dim=2)
        mixed = self.narrow(self.dropout(pairs))
        for block in self.blocks:
            mixed = block(mixed, mask[:, ::2])
        answer: Tensor = self.out(mixed).log_softmax(2)
        return answer
