"""A run under way: steps, the average of their weights, and checkpoints that resume."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from batches import Batch, hide, stretch
from config import Config, TrainingConfig
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.export.bundled_ctc.network import STRIDE, Network, NetworkSizes, frame_mask

_CLIP = 2.0
"""Largest norm of a step's gradient."""
Report = Callable[[int, float], None]
"""Told the step and the loss of late."""


def sizes(config: Config) -> NetworkSizes:
    """The network's; a token for each word, and the blank."""
    return NetworkSizes(tokens=len(config.words) + 1, **config.network.model_dump(exclude={"dropout"}))


def rate(step: int, config: TrainingConfig) -> float:
    """Learning rate: linearly up, then down along a cosine."""
    done = step / config.steps
    if done < config.warmup:
        return config.peak_rate * done / config.warmup
    return config.peak_rate * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


class Trainer:
    """Network, optimizer, and how far they are."""

    def __init__(self, training: TrainingConfig, network: Network, filters: Tensor, work: Path, rng: Generator) -> None:
        self._config, self._filters, self._rng, self._file = training, filters, rng, work / "checkpoint.pt"
        self.network = network
        keep = get_ema_multi_avg_fn(training.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=keep, use_buffers=True)
        self._optimizer = torch.optim.AdamW(network.parameters(), weight_decay=training.weight_decay)
        self.step = 0

    def train(self, cut: Iterator[Batch], report: Report) -> None:
        """What is left of the steps."""
        saved, total, seen = time.monotonic(), 0.0, 0.0
        self.network.train()
        while self.step < self._config.steps:
            total, seen = 0.98 * total + 0.02 * self._advance(next(cut)), 0.98 * seen + 0.02
            report(self.step, total / seen)
            if time.monotonic() - saved > self._config.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()

    def _advance(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self.step, self._config)
        loss = self._loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self._optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return float(loss.detach())

    def _loss(self, batch: Batch) -> Tensor:
        """Per example."""
        mel, mask = self._seen(batch)
        chances = self.network.tell(mel, mask).transpose(0, 1)
        frames = mask[:, ::STRIDE].sum(1).long()
        losses = functional.ctc_loss(chances, batch.tokens, frames, batch.counts, reduction="none", zero_infinity=True)
        return losses.mean()

    @torch.no_grad()
    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Spectrograms of other voices, other tempi, and with holes."""
        mask = frame_mask(batch.mask)
        chosen = torch.from_numpy(self._rng.integers(0, len(self._filters), len(mask)))
        mel = self.network.spectrogram(batch.wave, mask, self._filters[chosen])
        mel, mask = stretch(mel, mask, self._rng.uniform(0.85, 1.2))
        return hide(mel, self._rng), mask

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        new = self._file.with_suffix(".new")
        torch.save(state, new)
        new.replace(self._file)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self._file.exists():
            state = torch.load(self._file, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
