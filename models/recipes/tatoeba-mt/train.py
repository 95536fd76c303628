"""The recipe: vocabulary, training, and the bundled weights. What was done is not done again.

Run: python models/recipes/tatoeba-mt/train.py --data <folder with tatoeba.en-*.tsv.gz> --work <folder>
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import sentencepiece
import torch
import typer
from bundle import write_weights
from config import Config, load_config
from corpus import Batch, Vocabulary, batches, both_directions, hide, read_pairs, train_vocabulary
from network import Network
from rich.progress import Progress
from trainer import Trainer

HERE = Path(__file__).resolve().parent


def vocabulary(config: Config, data: Path, work: Path) -> Vocabulary:
    """The vocabulary, trained on the training pairs unless it is there."""
    model = work / "vocabulary.model"
    if not model.exists():
        texts = {text for code in config.languages for pair in _pairs(data, code) for text in pair}
        train_vocabulary(iter(sorted(texts)), config.vocabulary, model)
    return Vocabulary(sentencepiece.SentencePieceProcessor(model_file=str(model)))


def _pairs(data: Path, code: str) -> list[tuple[str, str]]:
    return read_pairs(data / f"tatoeba.en-{code}.train.tsv.gz")


def _hidden(pairs: list[tuple[str, str]], config: Config) -> list[tuple[str, str]]:
    """The pairs, a share of them with holders where they may have some."""
    rng = random.Random(config.seed)  # noqa: S311  # the same for the same seed
    return [hide(pair, rng) if rng.random() < config.hidden else pair for pair in pairs]


def epochs(config: Config, data: Path, words: Vocabulary, first: int) -> Iterator[list[Batch]]:
    """Batches of each epoch from ``first`` on, for ever; the same ones for the same seed."""
    directions = [
        one
        for code in config.languages
        for one in both_directions(words, _hidden(_pairs(data, code), config), code, config.longest)
    ]
    while True:
        yield batches(directions, config, random.Random(config.seed + first))  # noqa: S311
        first += 1


def main(
    data: Annotated[Path, typer.Option(help="Folder of the Tatoeba files.")],
    work: Annotated[Path, typer.Option(help="Folder for vocabulary and checkpoints.")],
    config: Annotated[Path, typer.Option(help="The recipe's decisions.")] = HERE / "config.yaml",
    out: Annotated[Path | None, typer.Option(help="Where the weights go; by default, those that are bundled.")] = None,
    bundle_only: Annotated[bool, typer.Option("--bundle", help="Train no further.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Write fp32 weights, to compare int8 with.")] = False,
) -> None:
    """Train, or go on training, and write the weights."""
    chosen = load_config(config)
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(chosen.seed)
    words = vocabulary(chosen, data, work)
    network = Network(chosen.network, words.size, chosen.longest)
    trainer = Trainer(chosen.training, network, work)
    trainer.resume()
    if not (bundle_only or trainer.is_done):
        _train(trainer, epochs(chosen, data, words, trainer.epoch), chosen)
    write_weights(trainer, chosen, work / "vocabulary.model", out, full=full)


def _train(trainer: Trainer, cut: Iterator[list[Batch]], config: Config) -> None:
    size = sum(p.numel() for p in trainer.network.parameters()) / 1e6
    with Progress() as progress:
        progress.console.print(f"{size:.1f} M parameters on {trainer.device}, from step {trainer.step}")
        bar = progress.add_task("")

        def report(done: int, batches: int, loss: float) -> None:
            where = f"epoch {trainer.epoch}, step {trainer.step} of {config.training.steps}, loss {loss:.3f}"
            progress.update(bar, completed=done, total=batches, description=where)

        while not trainer.is_done:
            trainer.train(next(cut), report)


if __name__ == "__main__":
    typer.run(main)
