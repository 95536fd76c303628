"""What the engine has to know of a checkpoint beside weights and tokenizer: ``whisper.json`` of an artefact."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

FILE = "whisper.json"


@dataclass(frozen=True)
class WhisperSettings:
    """Ids of special tokens, and sizes.

    Args:
        start: that a transcript starts.
        end: that it ends; text tokens have lower ids.
        previous: that text follows which was said before.
        no_timestamps: that no times are to be written.
        first_timestamp: 0.00 s; those after it are 20 ms apart.
        transcribe: write what is said.
        translate: write it in English.
        languages: by ISO 639 code; empty if the checkpoint knows English only, and neither of the two above is used.
        mels: bands of its spectrograms.
        positions: most tokens, prompt included.
        compute_type: of CTranslate2.
    """

    start: int
    end: int
    previous: int
    no_timestamps: int
    first_timestamp: int
    transcribe: int
    translate: int
    languages: Mapping[str, int]
    mels: int
    positions: int
    compute_type: str

    @property
    def multilingual(self) -> bool:
        """Whether it is told languages and tasks."""
        return bool(self.languages)

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read those of an artefact."""
        return cls(**json.loads((artefact / FILE).read_text(encoding="utf-8")))

    def save(self, artefact: Path) -> None:
        """Write them into an artefact."""
        (artefact / FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
