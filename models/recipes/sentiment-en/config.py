"""Owns the typed, frozen form of config.yaml and its smoke-test reduction."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Unknown keys are mistakes; values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fit(Frozen):
    """One optimisation run."""

    epochs: int
    batch: int
    lr: float
    warmup: float
    weight_decay: float
    ema: float


class Adapt(Frozen):
    """Stage 1: review windows."""

    windows_per_review: int
    window_words: tuple[int, int]
    fit: Fit


class Teachers(Frozen):
    """Stage 2: SST-2, one teacher per seed."""

    seeds: tuple[int, ...]
    dropout: float
    fit: Fit


class Label(Frozen):
    """Stage 3: soft labels."""

    sentences: int
    words: tuple[int, int]
    review_prior: float
    min_confidence: float


class Student(Frozen):
    """Stage 4: the adapter that ships."""

    rank: int
    gold_copies: int
    teacher_share: float
    windows: int
    window_words: tuple[int, int]
    fit: Fit


class Config(Frozen):
    """The whole recipe."""

    seed: int
    threads: int
    max_tokens: int
    sst2_holdout: float
    imdb_holdout: int
    adapt: Adapt
    teachers: Teachers
    label: Label
    student: Student
    smoke: bool = False


def load_config(path: Path, smoke: bool) -> Config:
    """Read the YAML; in a smoke run shrink every stage, keep every stage."""
    config = Config.model_validate(yaml.safe_load(path.read_text()))
    if not smoke:
        return config
    return config.model_copy(
        update={
            "smoke": True,
            "imdb_holdout": 40,
            "adapt": config.adapt.model_copy(update={"windows_per_review": 1}),
            "teachers": config.teachers.model_copy(update={"seeds": (1, 2)}),
            "label": config.label.model_copy(update={"sentences": 300}),
            "student": config.student.model_copy(update={"windows": 100, "gold_copies": 1}),
        }
    )
