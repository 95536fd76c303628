"""The recipe's decisions, read from YAML. Knows nothing of what is done with them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

BLANK, OTHER = "<blank>", "<other>"
"""Tokens for silence, and for speech that is none of the words."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SynthesisConfig(_Part):
    """How much speech is made by synthesizers."""

    speakers: int
    held_out: int
    others: int


class MixingConfig(_Part):
    """How clips become examples. Shares are of the examples, or of the clips where it says so."""

    examples: int
    """How many are made; all are learned from many times."""
    recorded: float
    """Of the words of speakers who are people: digits."""
    commands: float
    """Of the synthetic words."""
    others: float
    recorded_others: float
    """Of the clips that are other speech."""
    others_longest: float
    """Seconds of other speech."""
    longest: int
    """Words."""
    repeated: float
    """Of the words after the first: the same once more."""
    gap: float
    """Seconds, at most, between words."""
    padding: float
    """Seconds, at most, of silence at either end."""
    tight: float
    """Have no silence at the ends."""
    narrow: float
    """Have nothing above 4 kHz."""
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


class SpottingConfig(_Part):
    """How what the network says is weighed, in natural logarithms."""

    digits: float
    """Added to those of digits: they were learned from people, commands were not."""
    word: float
    """Added for each word that is written; less than 0."""


class Config(_Part):
    """All of it."""

    seed: int
    digits: tuple[str, ...]
    commands: tuple[str, ...]
    synthesis: SynthesisConfig
    mixing: MixingConfig
    network: NetworkConfig
    training: TrainingConfig
    spotting: SpottingConfig

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary; word ``n`` is token ``n + 1``, for 0 is the blank."""
        return self.digits + self.commands

    @property
    def tokens(self) -> tuple[str, ...]:
        """All of them, that of other speech last."""
        return (BLANK, *self.words, OTHER)


def load_config(file: Path) -> Config:
    """Read and validate."""
    return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
