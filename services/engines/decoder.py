"""``decoder.json``: how the decoder of an encoder-decoder artefact starts, ends and is kept from nonsense.

Written by the exporters, read by the engines; knows neither texts nor networks.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

FILE = "decoder.json"


class DecoderSettings(BaseModel):
    """What an engine must know of a model beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int | None
    """Id the decoder is given first; none where the prefix itself starts it (mBART-25)."""
    end: int
    """Id that ends a target."""
    pad: int
    """Id that fills up shorter sources."""
    never: tuple[int, ...] = ()
    """Ids that are not written, whatever their probability."""
    layers: int
    """Layers of the decoder."""
    attention_layer: int
    """Layer whose cross-attention is reported."""

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read it from an artefact folder."""
        return cls.model_validate_json((artefact / FILE).read_bytes())

    def save(self, artefact: Path) -> None:
        """Write it into an artefact folder."""
        (artefact / FILE).write_text(self.model_dump_json(indent=2), encoding="utf-8")
