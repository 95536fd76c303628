"""``generator.json``: what an engine must know of a language model beside its weights.

Written by the exporters, read by the engines. Weights are stored in fp32 or bf16; nf4 and int8 are made of bf16 when
the engine loads them.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from services.core.catalog import Precision

FILE = "generator.json"


class GeneratorSettings(BaseModel):
    """How a language model is to be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision
    """What its linear layers are computed in."""
    context: int
    """Most tokens of a sequence."""

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read it from an artefact folder."""
        return cls.model_validate_json((artefact / FILE).read_bytes())

    def save(self, artefact: Path) -> None:
        """Write it into an artefact folder."""
        (artefact / FILE).write_text(self.model_dump_json(indent=2), encoding="utf-8")
