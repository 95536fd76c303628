"""``decoder.json``: how the decoder of an encoder-decoder artefact starts, ends and is kept from nonsense.

Written by the exporters, read by the engines; knows neither texts nor networks.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from services.core.engine import Seq2SeqInput

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
    positions: int | None = None
    """Most tokens that the network has places for, on either side; none where it has no such limit."""
    layers: int
    """Layers of the decoder."""
    attention_layer: int
    """Layer whose cross-attention is reported."""

    def within(self, batch: Sequence[Seq2SeqInput]) -> list[Seq2SeqInput]:
        """The same, none asking for more tokens than there are places for, what it is given and the end included."""
        if self.positions is None:
            return list(batch)
        room = self.positions - 3  # for start, prefix and end
        return [item if item.max_tokens <= room else replace(item, max_tokens=room) for item in batch]

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read it from an artefact folder."""
        return cls.model_validate_json((artefact / FILE).read_bytes())

    def save(self, artefact: Path) -> None:
        """Write it into an artefact folder."""
        (artefact / FILE).write_text(self.model_dump_json(indent=2), encoding="utf-8")
