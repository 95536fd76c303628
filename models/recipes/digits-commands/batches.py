"""What the trunk heard -> batches of tensors. Knows tokens and the network's input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from features import Heard
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

_STEP = 32
"""States come in multiples of it: kernels of a convolution are compiled anew for each length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples, padded at their ends.

    Args:
        states: [batch, frames, width].
        mask: [batch, frames, 1], 1 before the end.
        tokens: [all words], one example's after the other's.
        counts: [batch], words of each.
    """

    states: Tensor
    mask: Tensor
    tokens: Tensor
    counts: Tensor

    @property
    def frames(self) -> Tensor:
        """[batch], of what the network tells: one for two states."""
        return (self.mask.sum((1, 2)).long() + 1) // 2


def collate(heard: Sequence[Heard], words: Sequence[str]) -> Batch:
    """Pad them and look up their tokens: a word's place in the vocabulary, from 1 on."""
    numbers = {word: number for number, word in enumerate(words, start=1)}
    states = pad_sequence([torch.from_numpy(one.states).float() for one in heard], batch_first=True)
    frames = torch.tensor([len(one.states) for one in heard])
    states = functional.pad(states, (0, 0, 0, -states.shape[1] % _STEP))
    mask = (torch.arange(states.shape[1])[None] < frames[:, None]).float()[:, :, None]
    tokens = torch.tensor([numbers[word] for one in heard for word in one.words], dtype=torch.long)
    return Batch(states, mask, tokens, torch.tensor([len(one.words) for one in heard]))


def batches(heard: Sequence[Heard], words: Sequence[str], size: int, rng: Generator) -> Iterator[Batch]:
    """For ever, each time in another order."""
    while True:
        order = rng.permutation(len(heard))
        for first in range(0, len(order) - size + 1, size):
            yield collate([heard[n] for n in order[first : first + size]], words)


def hide(states: Tensor, rng: Generator, frames: int = 5) -> Tensor:
    """Put up to two stretches of frames of each to zero, in place: SpecAugment (Park et al. 2019) without bands."""
    for one in states:
        for length in rng.integers(0, frames + 1, 2).tolist():
            first = int(rng.integers(0, max(1, len(one) - length)))
            one[first : first + length] = 0
    return states
