"""What the trunk heard -> batches of tensors. Knows the network's input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from features import Heard
from numpy.random import Generator
from targets import allowed
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

_SORTED = 8
"""Batches, at most, that are sorted by length together."""
_STEP = 32
"""States come in multiples of it: kernels of a convolution are compiled anew for each length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples, padded at their ends.

    Args:
        states: [batch, states, width].
        mask: [batch, states, 1], 1 before the end.
        allowed: bool [batch, frames, tokens], what may be told; all of it after the end. A frame is two states.
    """

    states: Tensor
    mask: Tensor
    allowed: Tensor


def collate(heard: Sequence[Heard], tokens: Sequence[str]) -> Batch:
    """Pad them, and see what may be told of them."""
    states = pad_sequence([torch.from_numpy(one.states).float() for one in heard], batch_first=True)
    lengths = torch.tensor([len(one.states) for one in heard])
    states = functional.pad(states, (0, 0, 0, -states.shape[1] % _STEP))
    mask = (torch.arange(states.shape[1])[None] < lengths[:, None]).float()[:, :, None]
    right = torch.ones(len(heard), states.shape[1] // 2, len(tokens), dtype=torch.bool)
    for row, one in zip(right, heard, strict=True):
        frames = (len(one.states) + 1) // 2
        row[:frames] = torch.from_numpy(allowed(one.spans, frames, tokens))
    return Batch(states, mask, right)


def batches(heard: Sequence[Heard], tokens: Sequence[str], size: int, rng: Generator) -> Iterator[Batch]:
    """For ever, each time in another order; those in a batch are about equally long.

    Raises:
        ValueError: there are too few for a batch.
    """
    together = min(_SORTED, len(heard) // size)
    if not together:
        raise ValueError(f"{len(heard)} examples make no batch of {size}")
    while True:
        order = rng.permutation(len(heard))
        for first in range(0, len(order) - size * together + 1, size * together):
            some = sorted(order[first : first + size * together], key=lambda n: len(heard[n].states))
            for group in rng.permutation(together):
                yield collate([heard[n] for n in some[group * size : (group + 1) * size]], tokens)


def hide(states: Tensor, rng: Generator, frames: int = 5) -> Tensor:
    """Put up to two stretches of frames of each to zero, in place: SpecAugment (Park et al. 2019) without bands."""
    for one in states:
        for length in rng.integers(0, frames + 1, 2).tolist():
            first = int(rng.integers(0, max(1, len(one) - length)))
            one[first : first + length] = 0
    return states
