"""Models that were converted for CTranslate2 already, as faster-whisper has them."""

import json
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.causal_lm.weights import link

VOCABULARIES = ("vocabulary.json", "vocabulary.txt")


def opened_vocabulary(folder: Path) -> int:
    """How many tokens it has.

    Raises:
        ExportError: there is no vocabulary.
    """
    file = _vocabulary(folder)
    text = file.read_text(encoding="utf-8")
    return len(json.loads(text)) if file.suffix == ".json" else len(text.split("\n")) - text.endswith("\n")


def link_model(folder: Path, target: Path) -> dict[str, Any]:
    """Weights and vocabulary under the same names; returns the ``config.json``, which is written anew."""
    for file in (folder / "model.bin", _vocabulary(folder)):
        link(file, target / file.name)
    config = folder / "config.json"
    return dict(json.loads(config.read_text(encoding="utf-8"))) if config.is_file() else {}


def _vocabulary(folder: Path) -> Path:
    files = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not files:
        raise ExportError(f"{folder} has a model.bin, but no {' or '.join(VOCABULARIES)}: it is no converted Whisper")
    return files[0]
