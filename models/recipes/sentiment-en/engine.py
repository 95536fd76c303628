"""Owns the training loop (resumable, with weight averaging), prediction and metrics."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import typer
from config import Fit
from data import Example
from rich.progress import track
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from models.architectures import EncoderClassifier

CHECKPOINT_EVERY = 200  # steps


class Batcher:
    """Turns texts into padded batches of similar length."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids, cut to the longest allowed."""
        ids: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def pad(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Padded ids and the attention mask."""
        padded = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return padded, (torch.arange(padded.shape[1]) < lengths[:, None]).long()


def batches(lengths: list[int], size: int, rng: random.Random) -> list[list[int]]:
    """Random batches, sorted by length within pools so that little is padding."""
    order = rng.sample(range(len(lengths)), len(lengths))
    pools = (order[at : at + size * 40] for at in range(0, len(order), size * 40))
    made = [
        pool[at : at + size]
        for pool in (sorted(pool, key=lengths.__getitem__) for pool in pools)
        for at in range(0, len(pool), size)
    ]
    rng.shuffle(made)
    return made


class Run:
    """One optimisation run: optimiser, schedule, weight average, checkpoint."""

    def __init__(self, model: EncoderClassifier, fit: Fit, steps: int, checkpoint: Path) -> None:
        self.params = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.params.items()}
        self.optimizer = torch.optim.AdamW(self.params.values(), lr=fit.lr, weight_decay=fit.weight_decay, fused=True)
        warm = max(1, int(fit.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
        )
        self.decay, self.checkpoint, self.step = fit.ema, checkpoint, 0

    def update(self) -> None:
        """Take one step with the gradients at hand and move the average."""
        nn.utils.clip_grad_norm_(self.params.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.step += 1
        # A short memory at first: the average must not remember the start for long.
        decay = min(self.decay, self.step / (self.step + 10))
        for name, value in self.params.items():
            self.average[name].lerp_(value.detach(), 1 - decay)

    def save(self) -> None:
        """Write a checkpoint; a crash while writing leaves the previous one."""
        state = {
            "params": {n: p.detach() for n, p in self.params.items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "step": self.step,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.install(state["params"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.step = state["step"]

    def install(self, values: dict[str, Tensor]) -> None:
        """Copy values into the model."""
        with torch.no_grad():
            for name, value in self.params.items():
                value.copy_(values[name])


def train(
    model: EncoderClassifier,
    batcher: Batcher,
    epochs: Callable[[random.Random], list[Example]],
    fit: Fit,
    seed: int,
    checkpoint: Path,
) -> None:
    """Fit on soft labels; `epochs` draws the examples of one epoch. Ends with the average."""
    generators = [random.Random(f"{seed}/{epoch}") for epoch in range(fit.epochs)]  # noqa: S311
    todo = [batch for rng in generators for batch in draw(batcher, epochs, fit, rng)]
    run = Run(model, fit, len(todo), checkpoint)
    run.resume()
    torch.manual_seed(seed + run.step)
    model.train()
    for rows, targets in track(todo[run.step :], description=checkpoint.stem):
        ids, mask = batcher.pad(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids, mask)
        goal = torch.tensor(targets)
        loss = nn.functional.cross_entropy(logits, torch.stack([1 - goal, goal], dim=1))
        loss.backward()  # type: ignore[no-untyped-call]
        run.update()
        if run.step % CHECKPOINT_EVERY == 0:
            typer.echo(f"{checkpoint.stem}: step {run.step}/{len(todo)}, loss {loss.item():.3f}")
            run.save()
    run.install(run.average)
    model.eval()


def draw(
    batcher: Batcher, epochs: Callable[[random.Random], list[Example]], fit: Fit, rng: random.Random
) -> Iterator[tuple[list[list[int]], list[float]]]:
    """Yield one epoch as (token ids, targets) batches."""
    examples = epochs(rng)
    rows = batcher.encode([example.text for example in examples])
    for batch in batches([len(row) for row in rows], fit.batch, rng):
        yield [rows[i] for i in batch], [examples[i].positive for i in batch]


@torch.no_grad()
def predict(model: EncoderClassifier, batcher: Batcher, texts: list[str], fast: bool = False) -> Tensor:
    """Logits [texts, labels] in the order of `texts`; `fast` trades fp32 for bfloat16."""
    rows = batcher.encode(texts)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    out = torch.empty(len(rows), 2)
    for at in track(range(0, len(order), 32), description="predict"):
        chosen = order[at : at + 32]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
            out[chosen] = model(*batcher.pad([rows[i] for i in chosen]))
    return out


def gold(examples: list[Example]) -> Tensor:
    """The labels as class numbers."""
    return torch.tensor([int(example.positive) for example in examples])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right top classes."""
    return (logits.argmax(1) == labels).float().mean().item()


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error of the top class over equal-width bins."""
    confidence, chosen = logits.softmax(1).max(1)
    right = (chosen == labels).float()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [(confidence[which == b] - right[which == b]).sum().abs() for b in range(bins)]
    return (torch.stack(gaps).sum() / len(labels)).item()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the lowest negative log-likelihood, by grid search."""
    grid = torch.linspace(0.3, 4.0, 371)
    losses = torch.stack([nn.functional.cross_entropy(logits / t, labels) for t in grid])
    return grid[losses.argmin()].item()
