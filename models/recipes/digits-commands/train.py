"""The recipe: clips, training, scores, and the bundled weights. What was done is not done again.

Run: python models/recipes/digits-commands/train.py --data <folder with fsdd, ljspeech, kerstin_de> --work <folder>
With ``--leave-out <speaker>``, the weights stay in the work folder and are scored with that speaker's digits.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import typer
from bank import Bank, gather
from batches import Batches, warped_filters
from bundle import write_weights
from config import Config, TrainingConfig, load_config
from mixing import Mixer
from rich.console import Console
from scoring import scores
from torch.utils.data import DataLoader
from trainer import Trainer, sizes

from models.export.bundled_ctc.network import Network

HERE = Path(__file__).resolve().parent
BATCH = 24
EVERY = 50
"""Steps between two lines that tell of them."""


def train(config: Config, training: TrainingConfig, network: Network, bank: Bank, work: Path) -> Network:
    """The average of the weights of a run, which goes on where it was left."""
    work.mkdir(parents=True, exist_ok=True)
    console = Console()
    drawing, hiding = np.random.default_rng(config.seed).spawn(2)

    def report(step: int, loss: float) -> None:
        if step % EVERY == 0:
            console.print(f"{work.name}: step {step} of {training.steps}, loss {loss:.3f}")

    trainer = Trainer(training, network, warped_filters(config.mixing, config.network.mels), work, hiding)
    trainer.resume()
    if trainer.step < training.steps:
        drawing = drawing.spawn(trainer.step + 1)[-1]  # other examples than before it was left
        mixer = Mixer(config.mixing, config.digits, bank, drawing)
        cut = DataLoader(Batches(mixer, config.words, BATCH, drawing), batch_size=None, num_workers=1)
        trainer.train(iter(cut), report)
    return cast("Network", trainer.average.module).eval()


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    work: Annotated[Path, typer.Option(help="Folder for clips and checkpoints.")],
    config: Annotated[Path, typer.Option(help="The recipe's decisions.")] = HERE / "config.yaml",
    out: Annotated[Path | None, typer.Option(help="Where the weights go; by default, those that are bundled.")] = None,
    leave_out: Annotated[str, typer.Option(help="Speaker to score with instead of learning from.")] = "",
    base_only: Annotated[bool, typer.Option("--base", help="Only learn from synthetic words.")] = False,
) -> None:
    """Train, or go on training; then score, or write the bundled weights."""
    chosen = load_config(config)
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(1)
    bank = gather(chosen, data, work)
    network = Network(sizes(chosen), chosen.network.dropout)
    network = train(chosen, chosen.base, network, dataclasses.replace(bank, digits=[]), work / "base")
    if not base_only:
        others = [clip for clip in bank.digits if clip.speaker != leave_out]
        folder = work / (f"without-{leave_out}" if leave_out else "all")
        network = train(chosen, chosen.tuning, network, dataclasses.replace(bank, digits=others), folder)
        if not leave_out:
            write_weights(network, chosen, out)
    for speaker in sorted({clip.speaker for clip in bank.digits}) if base_only else [leave_out]:
        Console().print(speaker, scores(network, bank, speaker, chosen.words))


if __name__ == "__main__":
    typer.run(main)
