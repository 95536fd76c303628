"""A run under way: steps, the average of their weights, and checkpoints that resume. On a CPU or a GPU."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from config import TrainingConfig
from corpus import PAD, Batch
from loss import VocabularyLoss
from network import Network
from torch import Tensor

Report = Callable[[int, int, float], None]
"""Told batches done of the epoch, all of them, and the loss of late."""


def rate(step: int, config: TrainingConfig) -> float:
    """Learning rate: up, level, down."""
    left = config.steps - step
    return config.peak_rate * min(1.0, (step + 1) / config.warmup_steps, max(0.0, left / config.decay_steps))


def loss_of(network: Network, source: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy per target token."""
    states, right = network(source, target[:, :-1]), target[:, 1:]
    said = right != PAD
    table = network.shared.weight
    loss: Tensor = VocabularyLoss.apply(states[said].to(torch.bfloat16), table, right[said], smoothing)  # type: ignore[no-untyped-call]
    return loss


class Trainer:
    """Network, optimizer, and how far they are."""

    def __init__(self, config: TrainingConfig, network: Network, work: Path) -> None:
        self._config = config
        self._file = work / "checkpoint.pt"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        groups = [
            {"params": [p for p in network.parameters() if p.dim() == 2], "weight_decay": config.weight_decay},
            {"params": [p for p in network.parameters() if p.dim() != 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, fused=True)
        self.average = [p.detach().clone() for p in network.parameters()]
        self.step = self.epoch = self.batch = 0

    @property
    def is_done(self) -> bool:
        """Whether all steps are made."""
        return self.step >= self._config.steps

    def train(self, cut: Sequence[Batch], report: Report) -> None:
        """What is left of the epoch under way."""
        saved = time.monotonic()
        total = seen = 0.0
        for batch in cut[self.batch :]:
            if self.is_done:
                break
            total, seen = 0.99 * total + 0.01 * self._advance(batch), 0.99 * seen + 0.01
            self.batch += 1
            report(self.batch, len(cut), total / seen)
            if time.monotonic() - saved > self._config.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        if self.batch == len(cut):
            self.epoch, self.batch = self.epoch + 1, 0
        self.save()

    def _advance(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self.step, self._config)
        source, target = (ids.to(self.device, torch.int64) for ids in (batch.source, batch.target))
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = loss_of(self.network, source, target, self._config.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average_in()
        return float(loss.detach())

    @torch.no_grad()
    def _average_in(self) -> None:
        """An average over about the last tenth of the steps, at most the last thousand."""
        share = max(1e-3, 10 / (10 + self.step))
        torch._foreach_lerp_(self.average, list(self.network.parameters()), share)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
        }
        new = self._file.with_suffix(".new")
        torch.save(state, new)
        new.replace(self._file)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self._file.exists():
            state = torch.load(self._file, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.average = state["average"]
            self.step, self.epoch, self.batch = state["step"], state["epoch"], state["batch"]
