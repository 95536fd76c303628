"""A trained network -> the bundled weights, as `models.export.bundled_ctc` reads them."""

from pathlib import Path

from config import OTHER, Config
from trainer import sizes

from models.export.bundled_ctc.checkpoint import Settings, save
from models.export.bundled_ctc.network import Network
from models.sources import WEIGHTS

NAME = Path(__file__).resolve().parent.name
SECONDS = 15.0


def settings(config: Config) -> Settings:
    """What the weights are, and how they are used."""
    tokens = config.tokens
    return Settings(
        sizes=sizes(config),
        tokens=tokens,
        silent=(tokens.index(OTHER),),
        languages=("en",),
        seconds=SECONDS,
        word_bonus=config.spotting.word,
    )


def write_weights(network: Network, config: Config, out: Path | None = None) -> Path:
    """Write ``model.safetensors`` and ``config.json``; returns their folder."""
    target = out or WEIGHTS / NAME
    save(network, settings(config), target)
    return target
