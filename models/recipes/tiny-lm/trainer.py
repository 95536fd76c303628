"""A stage under way: steps and checkpoints that resume; and what a model makes of held-out text.

Knows nothing of where windows come from, nor whether the weights that learn are a network's or an adapter's.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from config import Stage
from torch import Tensor, nn

Report = Callable[[int, float], None]
"""Told the steps done and the loss of late."""


def rate(step: int, steps: int, stage: Stage) -> float:
    """Learning rate: up, level, down."""
    left = (steps - step) / (steps * stage.decay)
    return stage.peak_rate * min(1.0, (step + 1) / stage.warmup_steps, left)


def loss_of(model: nn.Module, windows: Tensor) -> Tensor:
    """Cross-entropy per token, each foretold from those before it."""
    with torch.autocast(windows.device.type, torch.bfloat16):
        logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def perplexity(model: nn.Module, documents: Sequence[Tensor], context: int) -> float:
    """Per token, over documents cut to windows of the context; the first token of a window is given."""
    model.eval()
    total = tokens = 0.0
    for ids in documents:
        for window in torch.split(ids, context):
            if len(window) > 1:
                total += float(loss_of(model, window[None])) * (len(window) - 1)
                tokens += len(window) - 1
    return math.exp(total / tokens)


class Trainer:
    """A model, its optimizer, and how far they are.

    Args:
        model: only what requires a gradient learns, and is kept in checkpoints.
        stage: how it learns.
        steps: of all epochs.
        file: of the checkpoint; gone on from if it is there.
        every: seconds between checkpoints.
    """

    def __init__(self, model: nn.Module, stage: Stage, steps: int, file: Path, every: float) -> None:
        self.model = model
        self._stage = stage
        self._steps = steps
        self._file = file
        self._every = every
        self._saved = time.monotonic()
        self._learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._optimizer = torch.optim.AdamW(self._groups(), betas=(0.9, 0.95), fused=True)
        self.step = self.epoch = self.batch = 0
        self._resume()

    def _groups(self) -> list[dict[str, object]]:
        weights = list(self._learning.values())
        return [
            {"params": [w for w in weights if w.dim() >= 2], "weight_decay": self._stage.weight_decay},
            {"params": [w for w in weights if w.dim() < 2], "weight_decay": 0.0},
        ]

    @property
    def is_done(self) -> bool:
        """Whether all steps are made."""
        return self.step >= self._steps

    def train(self, windows: Tensor, report: Report) -> None:
        """One pass over these windows, or what is left of it."""
        batches = torch.split(windows, self._stage.batch)
        loss = 0.0
        self.model.train()
        for batch in batches[self.batch :]:
            if self.is_done:
                break
            new = self._advance(batch)
            loss = 0.95 * loss + 0.05 * new if loss else new
            report(self.step, loss)
            if time.monotonic() - self._saved > self._every:
                self.save()
        self.epoch, self.batch = self.epoch + 1, 0
        self.save()

    def _advance(self, batch: Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self.step, self._steps, self._stage)
        loss = loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._learning.values(), self._stage.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step, self.batch = self.step + 1, self.batch + 1
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        weights = {name: weight.detach() for name, weight in self._learning.items()}
        new = self._file.with_suffix(".new")
        at = {"step": self.step, "epoch": self.epoch, "batch": self.batch}
        torch.save({"weights": weights, "optimizer": self._optimizer.state_dict(), **at}, new)
        new.replace(self._file)
        self._saved = time.monotonic()

    def _resume(self) -> None:
        if self._file.exists():
            state = torch.load(self._file, weights_only=True)
            with torch.no_grad():
                for name, weight in self._learning.items():
                    weight.copy_(state["weights"][name])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch, self.batch = state["step"], state["epoch"], state["batch"]
