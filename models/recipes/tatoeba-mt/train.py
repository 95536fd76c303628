"""Trains the network: steps, checkpoints that resume, what it says on the way. On a CPU or a GPU.

Run: python train.py --data <folder with tatoeba.en-*.tsv.gz> --work <folder>
"""

import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import sentencepiece
import torch
import typer
from config import Config, TrainingConfig, load_config
from corpus import PAD, Batch, Vocabulary, batches, both_directions, hide, read_pairs, train_vocabulary
from loss import VocabularyLoss
from network import Network
from torch import Tensor
from tqdm import tqdm

HERE = Path(__file__).resolve().parent


def vocabulary(config: Config, data: Path, work: Path) -> Vocabulary:
    """The vocabulary, trained on the training pairs unless it is there."""
    model = work / "vocabulary.model"
    if not model.exists():
        texts = {text for code in config.languages for pair in _train_pairs(data, code) for text in pair}
        train_vocabulary(iter(sorted(texts)), config.vocabulary, model)
    return Vocabulary(sentencepiece.SentencePieceProcessor(model_file=str(model)))


def _hidden(pairs: list[tuple[str, str]], config: Config) -> list[tuple[str, str]]:
    """The pairs, a share of them with holders where they may have some."""
    rng = random.Random(config.seed)
    return [hide(pair, rng) if rng.random() < config.hidden else pair for pair in pairs]


def _train_pairs(data: Path, code: str) -> list[tuple[str, str]]:
    return read_pairs(data / f"tatoeba.en-{code}.train.tsv.gz")


def rate(step: int, config: TrainingConfig) -> float:
    """Learning rate: up, level, down."""
    left = config.steps - step
    return config.peak_rate * min(1.0, (step + 1) / config.warmup_steps, max(0.0, left / config.decay_steps))


def loss_of(network: Network, source: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy per target token."""
    states, right = network(source, target[:, :-1]), target[:, 1:]
    said = right != PAD
    return VocabularyLoss.apply(states[said].to(torch.bfloat16), network.shared.weight, right[said], smoothing)


class Trainer:
    """A run under way: network, optimizer, and how far it is."""

    def __init__(self, config: Config, network: Network, work: Path, device: torch.device) -> None:
        self._config = config.training
        self._work = work
        self._device = device
        self.network = network.to(device)
        decayed = [p for p in network.parameters() if p.dim() == 2]
        kept = [p for p in network.parameters() if p.dim() != 2]
        groups = [{"params": decayed, "weight_decay": self._config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, fused=True)
        self.average = [p.detach().clone() for p in network.parameters()]
        self.step = self.epoch = self.batch = 0

    def train(self, epoch: int, cut: list[Batch]) -> None:
        """One epoch."""
        saved = time.monotonic()
        bar = tqdm(cut[self.batch :], desc=f"epoch {epoch}", mininterval=10, initial=self.batch, total=len(cut))
        total = seen = 0.0
        for batch in bar:
            if self.step >= self._config.steps:
                break
            total, seen = 0.99 * total + 0.01 * self._advance(batch), 0.99 * seen + 0.01
            self.batch += 1
            if self.step % 20 == 0:
                bar.set_postfix(step=self.step, loss=f"{total / seen:.3f}")
            if time.monotonic() - saved > self._config.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.epoch, self.batch = epoch + 1, 0
        self.save()

    def _advance(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self.step, self._config)
        source, target = (ids.to(self._device, torch.int64) for ids in (batch.source, batch.target))
        with torch.autocast(self._device.type, torch.bfloat16):
            loss = loss_of(self.network, source, target, self._config.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average_in()
        return float(loss.detach())

    @torch.no_grad()
    def _average_in(self) -> None:
        """Half as much of the beginning with each doubling of the steps: an average over about the last tenth."""
        share = max(1e-3, 10 / (10 + self.step))
        torch._foreach_lerp_(self.average, list(self.network.parameters()), share)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {"network": self.network.state_dict(), "optimizer": self._optimizer.state_dict()}
        new = self._work / "checkpoint.new"
        place = {"step": self.step, "epoch": self.epoch, "batch": self.batch}
        torch.save({**state, "average": self.average, **place}, new)
        new.replace(self._work / "checkpoint.pt")

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        file = self._work / "checkpoint.pt"
        if file.exists():
            state = torch.load(file, map_location=self._device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch, self.batch = state["step"], state["epoch"], state.get("batch", 0)
            self.average = state.get("average", self.average)


def epochs(config: Config, data: Path, words: Vocabulary) -> Iterator[list[Batch]]:
    """Batches of each epoch, for ever; the same ones for the same seed."""
    directions = [
        one
        for code in config.languages
        for one in both_directions(words, _hidden(_train_pairs(data, code), config), code, config.longest)
    ]
    number = 0
    while True:
        yield batches(directions, config, random.Random(config.seed + number))
        number += 1


def main(
    data: Annotated[Path, typer.Option(help="Folder of the Tatoeba files.")],
    work: Annotated[Path, typer.Option(help="Folder for vocabulary and checkpoints.")],
    config: Annotated[Path, typer.Option(help="The recipe's decisions.")] = HERE / "config.yaml",
) -> None:
    """Train, or go on training."""
    chosen = load_config(config)
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(chosen.seed)
    words = vocabulary(chosen, data, work)
    network = Network(chosen.network, words.size, chosen.longest)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(chosen, network, work, device)
    trainer.resume()
    size = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"{size:.1f} M parameters on {device}, from step {trainer.step} of {chosen.training.steps}")
    for number, cut in enumerate(epochs(chosen, data, words)):
        if number >= trainer.epoch:
            trainer.train(number, cut)
        if math.isclose(rate(trainer.step, chosen.training), 0.0):
            return


if __name__ == "__main__":
    typer.run(main)
