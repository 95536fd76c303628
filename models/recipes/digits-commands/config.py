"""The recipe's decisions, read from YAML. Knows nothing of what is done with them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SynthesisConfig(_Part):
    """How much speech is made by synthesizers."""

    speakers: int
    held_out: int
    phrases: int
    others: int


class MixingConfig(_Part):
    """How clips become examples. Shares are of the examples, or of the clips where it says so."""

    examples: int
    """How many are made; all are learned from many times."""
    recorded: float
    """Of the words of speakers who are people: digits."""
    commands: float
    """Of the synthetic words."""
    phrases: float
    others: float
    recorded_others: float
    """Of the clips that are other speech."""
    longest: int
    """Words."""
    gap: float
    """Seconds, at most, between words."""
    padding: float
    """Seconds, at most, of silence at either end."""
    speed: tuple[float, float]
    noisy: float
    snr: tuple[float, float]
    """dB."""
    reverberant: float


class NetworkConfig(_Part):
    """Sizes of the network after the trunk."""

    width: int
    kernel: int
    blocks: int


class TrainingConfig(_Part):
    """How it learns: one cycle of the rate, and an average of the weights."""

    batch: int
    peak_rate: float
    warmup: float
    """Share of the steps."""
    steps: int
    weight_decay: float
    average: float
    """Share of the earlier average that each step keeps."""
    dropout: float


class Config(_Part):
    """All of it."""

    seed: int
    digits: tuple[str, ...]
    commands: tuple[str, ...]
    synthesis: SynthesisConfig
    mixing: MixingConfig
    network: NetworkConfig
    training: TrainingConfig

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary; word ``n`` is token ``n + 1``, for 0 is the blank."""
        return self.digits + self.commands


def load_config(file: Path) -> Config:
    """Read and validate."""
    return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
