"""The recipe: vocabulary, base, adapters, and their scores. What was done is not done again.

Run: python models/recipes/tiny-lm/train.py --data <folder with lm and speech> --work <folder>
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from bundle import NAME, write_adapter, write_base
from config import Config, Stage, Text, load_config
from corpus import JOINT, Split, epoch, heldout, read_texts
from network import as_bundled, fresh, with_adapter
from peft import PeftModel
from rich.progress import Progress
from tokenizers import Tokenizer
from torch import nn
from trainer import Trainer, perplexity
from vocabulary import train_vocabulary

from models.sources import WEIGHTS

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Recipe:
    """What every stage needs."""

    config: Config
    texts: dict[Text, Split]
    tokenizer: Tokenizer
    work: Path
    out: Path


def learn(recipe: Recipe, name: str, model: nn.Module, stage: Stage) -> None:
    """Train to the stage's end, or go on training."""
    config = recipe.config

    def windows(number: int) -> torch.Tensor:
        return epoch(recipe.texts, stage.texts, recipe.tokenizer, config, config.seed + number)

    steps = stage.epochs * math.ceil(len(windows(0)) / stage.batch)
    trainer = Trainer(model, stage, steps, recipe.work / f"{name}.ckpt", config.checkpoint_seconds)
    with Progress() as progress:
        bar = progress.add_task(name, total=steps)

        def report(done: int, loss: float) -> None:
            progress.update(bar, completed=done, description=f"{name}, loss {loss:.3f}")

        while not trainer.is_done:
            trainer.train(windows(trainer.epoch), report)
            progress.console.print(f"{name}, step {trainer.step}: held-out {score(recipe, model)}")


def score(recipe: Recipe, model: nn.Module) -> dict[str, float]:
    """Perplexity per token on each text's held-out blocks."""
    context = recipe.config.network.context
    return {
        text: round(perplexity(model, heldout(text, recipe.texts[text], recipe.tokenizer), context), 2)
        for text in JOINT
    }


def base(recipe: Recipe) -> None:
    """The base, as bundled."""
    if not (recipe.out / NAME / "model.safetensors").exists():
        network = fresh(recipe.config.network, recipe.tokenizer)
        typer.echo(f"{sum(weight.numel() for weight in network.parameters()) / 1e6:.2f} M parameters")
        learn(recipe, "base", network, recipe.config.base)
        write_base(network, recipe.tokenizer, recipe.out / NAME)


def adapter(recipe: Recipe, name: str, stage: Stage) -> None:
    """An adapter of the bundled base."""
    if not (recipe.out / f"{NAME}-{name}" / "adapter_model.safetensors").exists():
        adapted = with_adapter(as_bundled(recipe.out / NAME), recipe.config.adapters)
        learn(recipe, name, adapted, stage)
        write_adapter(adapted, recipe.out / f"{NAME}-{name}")


def scores(recipe: Recipe, adapters: Sequence[str]) -> dict[str, dict[str, float]]:
    """What was bundled, scored as it will be served."""
    found = {"base": score(recipe, as_bundled(recipe.out / NAME))}
    for name in adapters:
        adapted = PeftModel.from_pretrained(as_bundled(recipe.out / NAME), str(recipe.out / f"{NAME}-{name}"))
        found[name] = score(recipe, adapted)
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with lm/tinyshakespeare.txt and speech/ljspeech_sentences.txt.")],
    work: Annotated[Path, typer.Option(help="Folder for vocabulary and checkpoints.")],
    out: Annotated[Path, typer.Option(help="Where the weights go; by default, those that are bundled.")] = WEIGHTS,
    config: Annotated[Path, typer.Option(help="The recipe's decisions.")] = HERE / "config.yaml",
    threads: Annotated[int, typer.Option(help="Of the CPU.")] = 1,
) -> None:
    """Train, or go on training, and write base, adapters and scores."""
    torch.set_num_threads(threads)
    chosen = load_config(config)
    torch.manual_seed(chosen.seed)
    work.mkdir(parents=True, exist_ok=True)
    texts = read_texts(data, chosen)
    written = (passage for split in texts.values() for block in split.train for passage in block)
    tokenizer = train_vocabulary(written, chosen.vocabulary, work / "tokenizer.json")
    recipe = Recipe(chosen, texts, tokenizer, work, out)
    base(recipe)
    for name, stage in chosen.adapters.of.items():
        adapter(recipe, name, stage)
    typer.echo(json.dumps(scores(recipe, list(chosen.adapters.of)), indent=2))


if __name__ == "__main__":
    typer.run(main)
