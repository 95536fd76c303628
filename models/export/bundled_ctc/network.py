"""A small network that spots words: waveform -> log mel spectrogram -> convolutions -> log probabilities of words.

Shared by training and export. Knows no data and no words. One utterance's answer does not depend on the others in its
padded batch: what is past its end is put to zero before each convolution over time.

Sources: time-channel separable convolutions with CTC as in QuartzNet (Kriman et al. 2020, arXiv:1910.10261); CTC itself
Graves et al. 2006; convolutions over frequency before those over time as in Deep Speech 2 (Amodei et al. 2015).
"""

import math

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

RATE = 16_000
HOP = 160
WINDOW = 400
POINTS = 512
LOWEST, HIGHEST = 60.0, 3700.0
"""Hz: all that telephones and 8 kHz recordings carry, so that these sound like any other."""
STRIDE = 4
"""Spectrogram frames per frame of the answer."""
FRAME_SAMPLES = HOP * STRIDE
_DEPTH = 11.5
"""Natural logarithm of the loudest power over the least that is told apart: 50 dB."""
_LOUD = 6.9
"""The same for what counts as speech where the channel is measured: 30 dB."""


class NetworkSizes(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int
    mels: int
    channels: tuple[int, int]
    width: int
    kernel: int
    early: int
    late: int


def mel_filters(mels: int, warp: float = 1.0) -> Tensor:
    """Triangles [frequencies, mels], their centres evenly spaced in mels; a warp above 1 moves them up."""
    edges = torch.linspace(_mel(LOWEST), _mel(HIGHEST), mels + 2, dtype=torch.float64)
    hertz = 700 * (torch.exp(edges / 1127) - 1) * warp
    at = torch.arange(_bins(), dtype=torch.float64)[:, None] * RATE / POINTS
    rising = (at - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - at) / (hertz[2:] - hertz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 1127 * math.log1p(hertz / 700)


def _bins() -> int:
    return int(4000 * POINTS / RATE)


def _fourier() -> Tensor:
    """A windowed Fourier transform as a convolution's kernels, [2 * frequencies, 1, samples]."""
    angles = 2 * math.pi / POINTS * torch.arange(_bins(), dtype=torch.float64)[:, None] * torch.arange(WINDOW)
    window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64)
    return (torch.cat([angles.cos(), angles.sin()]) * window).float()[:, None]


class Spectrogram(nn.Module):
    """Waveform -> log mel spectrogram from which loudness and channel are taken out."""

    fourier: Tensor
    filters: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.register_buffer("fourier", _fourier(), persistent=False)
        self.register_buffer("filters", mel_filters(mels), persistent=False)

    def forward(self, wave: Tensor, mask: Tensor, filters: Tensor | None = None) -> Tensor:
        """[batch, frames, mels] of [batch, samples]; ``mask`` [batch, frames] is 1 inside, and other filters
        [batch, frequencies, mels] may be given.
        """
        padded = functional.pad(wave, (WINDOW // 2, WINDOW // 2 - 1))
        real, imaginary = functional.conv1d(padded[:, None], self.fourier, stride=HOP).chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        mel = torch.log(power @ (self.filters if filters is None else filters) + 1e-10)
        return _normal(mel, mask)


def _normal(mel: Tensor, mask: Tensor) -> Tensor:
    """Relative to the loudest frame, and to the mean of the loud ones in each band."""
    energy = mel.exp().sum(2).log() - 1e4 * (1 - mask)
    peak = energy.amax(1)[:, None]
    loud = torch.sigmoid(4 * (energy - peak + _LOUD))[:, :, None]
    floored = torch.maximum(mel, peak[:, :, None] - _DEPTH)
    mean = (floored * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True)
    return (floored - mean) / 3 * mask[:, :, None]


class Block(nn.Module):
    """A convolution over time in each channel, then one over channels; beside a residual."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.time = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.across = nn.Conv1d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, width, frames]; ``mask`` [batch, 1, frames]."""
        mixed: Tensor = self.dropout(functional.relu(self.norm(self.across(self.time(states)))))
        return (states + mixed) * mask


class Network(nn.Module):
    """Waveforms -> log probabilities of tokens every 40 ms."""

    def __init__(self, sizes: NetworkSizes, dropout: float = 0.0) -> None:
        super().__init__()
        first, second = sizes.channels
        self.spectrogram = Spectrogram(sizes.mels)
        self.low = nn.Sequential(
            nn.Conv2d(1, first, (5, 5), (2, 2), (2, 2), bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )
        self.high = nn.Sequential(
            nn.Conv2d(first, second, (3, 3), (1, 2), (1, 1), bias=False), nn.BatchNorm2d(second), nn.ReLU()
        )
        self.flat = nn.Conv1d(second * -(-sizes.mels // 4), sizes.width, 1)
        self.early = nn.ModuleList(Block(sizes.width, sizes.kernel, dropout) for _ in range(sizes.early))
        self.down = nn.Conv1d(sizes.width, sizes.width, 3, 2, 1)
        self.late = nn.ModuleList(Block(sizes.width, sizes.kernel, dropout) for _ in range(sizes.late))
        self.out = nn.Conv1d(sizes.width, sizes.tokens, 1)

    def forward(self, wave: Tensor, attention_mask: Tensor) -> Tensor:
        """[batch, frames, tokens] of [batch, samples]; the mask [batch, samples] is 1 before an utterance's end."""
        inside = frame_mask(attention_mask)
        return self.tell(self.spectrogram(wave * attention_mask, inside), inside)

    def tell(self, mel: Tensor, mask: Tensor) -> Tensor:
        """The same of spectrograms [batch, frames, mels] and their mask [batch, frames]."""
        half, quarter = mask[:, ::2], mask[:, ::STRIDE]
        states = self.low(mel[:, None]) * half[:, None, :, None]
        states = self.high(states).transpose(1, 2).flatten(2).transpose(1, 2)
        states = functional.relu(self.flat(states)) * half[:, None]
        for block in self.early:
            states = block(states, half[:, None])
        states = functional.relu(self.down(states)) * quarter[:, None]
        for block in self.late:
            states = block(states, quarter[:, None])
        answer: Tensor = self.out(states).transpose(1, 2).log_softmax(2)
        return answer


def frame_mask(attention_mask: Tensor) -> Tensor:
    """[batch, spectrogram frames], float: which frames' middles are before the utterance's end."""
    return attention_mask[:, ::HOP].float()
