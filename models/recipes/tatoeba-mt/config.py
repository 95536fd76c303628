"""The recipe's decisions, read from YAML. Knows nothing of what is done with them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Part):
    """Sizes of the Transformer (M2M-100's architecture: pre-norm, ReLU, sinusoidal positions, tied embeddings)."""

    width: int
    heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    dropout: float


class TrainingConfig(_Part):
    """How it learns. The rate warms up, stays, and decays at the end, so that a run may be made longer."""

    batch_tokens: int
    peak_rate: float
    warmup_steps: int
    decay_steps: int
    steps: int
    label_smoothing: float
    weight_decay: float
    clip: float
    checkpoint_seconds: float


class Config(_Part):
    """All of it."""

    seed: int
    languages: tuple[str, ...]
    vocabulary: int
    longest: int
    hidden: float
    joined: float
    network: NetworkConfig
    training: TrainingConfig


def load_config(file: Path) -> Config:
    """Read and validate."""
    return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
