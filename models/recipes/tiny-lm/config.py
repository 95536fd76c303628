"""The recipe's decisions, read from YAML. Knows nothing of what is done with them."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Text = Literal["plays", "prose"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Part):
    """Sizes of the network (Llama's: RMS norm, rotary positions, SwiGLU, tied embeddings)."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    context: int


class Stage(_Part):
    """What is learned from, and how. The rate warms up, stays, and falls to zero at the end."""

    texts: tuple[Text, ...]
    epochs: int
    batch: int
    peak_rate: float
    warmup_steps: int
    decay: float
    weight_decay: float
    clip: float


class AdaptersConfig(_Part):
    """LoRA on every linear layer, and one stage for each adapter."""

    rank: int
    alpha: int
    dropout: float
    of: dict[str, Stage]


class Config(_Part):
    """All of it."""

    seed: int
    vocabulary: int
    heldout_every: int
    block_passages: int
    chat: float
    passages: tuple[int, ...]
    network: NetworkConfig
    base: Stage
    adapters: AdaptersConfig
    checkpoint_seconds: float


def load_config(file: Path) -> Config:
    """Read and validate."""
    return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
