"""The recipe: clips, what the trunk hears in them, training, scores, and the bundled weights.

Run: python models/recipes/digits-commands/train.py --data <folder with fsdd, ljspeech, kerstin_de> --work <folder>
With ``--leave-out <speaker>``, nothing is written, and the network is scored with that speaker's digits.
Clips and what is heard are kept in the work folder, and not made again.
"""

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from bank import Bank, gather
from bundle import settings, write_weights
from config import Config, load_config
from features import Heard, Trunk, hear, load, save
from mixing import Mixer
from rich.console import Console
from scoring import Spotter, mean, scores
from trainer import train

from models.export.bundled_ctc import described
from models.sources import fetch
from services.core.catalog import Source

HERE = Path(__file__).resolve().parent
TRUNK = Source(uri="pypi:moonshine-voice/moonshine_voice/assets/tiny-en")
PART = 1000
"""Examples that are made, and kept, at a time; so many are made as are multiples of it."""


def listen(config: Config, bank: Bank, trunk: Trunk, work: Path) -> list[Heard]:
    """All examples, as the trunk hears them."""
    made = hashlib.sha256(f"{config.seed} {config.mixing!r}".encode()).hexdigest()[:8]
    heard = []
    for part in range(-(-config.mixing.examples // PART)):
        file = work / f"heard-{made}-{part}.npz"
        if not file.exists():
            mixer = Mixer(config.mixing, config.digits, bank, np.random.default_rng([config.seed, part]))
            save(hear(trunk, (mixer.draw() for _ in range(PART))), file)
        heard += load(file)
    return heard


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    work: Annotated[Path, typer.Option(help="Folder for what is made on the way.")],
    config: Annotated[Path, typer.Option(help="The recipe's decisions.")] = HERE / "config.yaml",
    out: Annotated[Path | None, typer.Option(help="Where the weights go; by default, those that are bundled.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="Speaker to score with; may be given again.")] = None,
) -> None:
    """Train; then score, or write the bundled weights."""
    chosen = load_config(config)
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    bank, trunk = gather(chosen, data, work), Trunk(fetch(TRUNK))
    if unknown := set(leave_out or ()) - {clip.speaker for clip in bank.digits}:
        raise typer.BadParameter(f"nobody is called {', '.join(sorted(unknown))}", param_hint="--leave-out")
    heard, form = listen(chosen, bank, trunk, work), described(settings(chosen))
    found = {}
    for speaker in leave_out or [""]:
        torch.manual_seed(chosen.seed)
        others = [one for one in heard if speaker not in one.speakers]
        network = train(chosen, others, np.random.default_rng(chosen.seed))
        if not speaker:
            write_weights(network, chosen, out)
        found[speaker] = scores(Spotter(trunk, network, form), bank, speaker)
        Console().print(speaker, found[speaker])
    if len(found) > 1:
        Console().print("mean", mean(list(found.values())))


if __name__ == "__main__":
    typer.run(main)
