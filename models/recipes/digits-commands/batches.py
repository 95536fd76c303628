"""Examples -> batches of tensors, and what is done to spectrograms on the way. Knows tokens and the network's input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from config import MixingConfig
from mixing import Example, Mixer
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from models.export.bundled_ctc.network import mel_filters

_POOL = 4
"""Batches that are drawn at once, so that those of a batch are of about one length."""
_WARPS = 13
_STEP, _FRAME_STEP = 5120, 32
"""Samples and frames come in multiples of these: kernels of a convolution are compiled anew for each length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples, padded at their ends.

    Args:
        wave: [batch, samples].
        mask: [batch, samples], 1 before the end.
        tokens: [all words], one example's after the other's.
        counts: [batch], words of each.
    """

    wave: Tensor
    mask: Tensor
    tokens: Tensor
    counts: Tensor


def collate(examples: Sequence[Example], words: Sequence[str]) -> Batch:
    """Pad them and look up their tokens: a word's place in the vocabulary, from 1 on."""
    numbers = {word: number for number, word in enumerate(words, start=1)}
    lengths = torch.tensor([len(example.wave) for example in examples])
    wave = torch.zeros(len(examples), -(-int(lengths.max()) // _STEP) * _STEP)
    for row, example in zip(wave, examples, strict=True):
        row[: len(example.wave)] = torch.from_numpy(example.wave)
    mask = (torch.arange(wave.shape[1])[None] < lengths[:, None]).float()
    tokens = torch.tensor([numbers[word] for example in examples for word in example.words], dtype=torch.long)
    return Batch(wave, mask, tokens, torch.tensor([len(example.words) for example in examples]))


class Batches(IterableDataset[Batch]):
    """Batches of a mixer's examples, for ever."""

    def __init__(self, mixer: Mixer, words: Sequence[str], size: int, rng: Generator) -> None:
        self._mixer, self._words, self._size, self._rng = mixer, words, size, rng

    def __iter__(self) -> Iterator[Batch]:
        size = self._size
        while True:
            pool = sorted((self._mixer.draw() for _ in range(_POOL * size)), key=lambda example: len(example.wave))
            for n in self._rng.permutation(_POOL):
                yield collate(pool[n * size : (n + 1) * size], self._words)


def warped_filters(config: MixingConfig, mels: int) -> Tensor:
    """Filters for vocal tracts of several lengths, [warps, frequencies, mels]: vocal tract length perturbation
    (Jaitly and Hinton 2013).
    """
    return torch.stack([mel_filters(mels, float(warp)) for warp in np.geomspace(*config.warp, _WARPS)])


def stretch(mel: Tensor, mask: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Spectrograms [batch, frames, mels] and their mask, longer by about ``factor``, at the same pitch."""
    frames = max(1, round(mel.shape[1] * factor / _FRAME_STEP)) * _FRAME_STEP
    longer = functional.interpolate(mel.transpose(1, 2), size=frames, mode="linear").transpose(1, 2)
    inside = functional.interpolate(mask[:, None], size=frames, mode="nearest")[:, 0]
    return longer * inside[:, :, None], inside


def hide(mel: Tensor, rng: Generator, bands: int = 8, frames: int = 6) -> Tensor:
    """Put a stretch of bands and two of frames of each to zero, in place: SpecAugment (Park et al. 2019)."""
    for one in mel:
        width = int(rng.integers(0, bands + 1))
        low = int(rng.integers(0, mel.shape[2] - width + 1))
        one[:, low : low + width] = 0
        for length in rng.integers(0, frames + 1, 2).tolist():
            first = int(rng.integers(0, max(1, mel.shape[1] - length)))
            one[first : first + length] = 0
    return mel
