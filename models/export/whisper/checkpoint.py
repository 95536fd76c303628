"""Transformers checkpoints of Whisper."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import WhisperForConditionalGeneration

from models.export import ExportError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Network:
    """A network in float32, and what its makers say of decoding.

    Args:
        model: of transformers.
        suppressed: ids never written; None: not told.
        suppressed_first: ids not written first; None: not told.
        alignment_heads: layer and head of those that follow the speech; None: not told.
    """

    model: WhisperForConditionalGeneration
    suppressed: list[int] | None = None
    suppressed_first: list[int] | None = None
    alignment_heads: list[list[int]] | None = None

    @property
    def vocabulary_size(self) -> int:
        """Of its output."""
        return int(self.model.config.vocab_size)


def load(folder: Path) -> Network:
    """Open a checkpoint folder. Pickled weights are read as tensors only (torch's ``weights_only``).

    Raises:
        ExportError: there are no weights in it, or they are not those of a Whisper.
    """
    safe = _has(folder, WEIGHTS)
    if not safe and not _has(folder, PICKLED):
        raise ExportError(
            f"{folder} has no model.safetensors, pytorch_model.bin, .pt file or model.bin: it is no Whisper checkpoint"
        )
    try:
        model, report = WhisperForConditionalGeneration.from_pretrained(
            folder,
            dtype="float32",
            use_safetensors=safe,
            weights_only=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ExportError(f"{folder} cannot be opened as a Whisper checkpoint: {error}") from error
    if lacking := set(report["missing_keys"]) - {"proj_out.weight"}:
        raise ExportError(f"{folder} is no Whisper checkpoint: it lacks {', '.join(sorted(lacking)[:3])}, …")
    told = _told(folder)
    return Network(
        model.eval(), told.get("suppress_tokens"), told.get("begin_suppress_tokens"), told.get("alignment_heads")
    )


def _has(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in names)


def _told(folder: Path) -> dict[str, Any]:
    """Newer checkpoints tell in ``generation_config.json``, older ones in ``config.json``."""
    files = [folder / name for name in ("config.json", "generation_config.json") if (folder / name).is_file()]
    found: dict[str, Any] = {}
    for file in files:
        found |= {name: value for name, value in json.loads(file.read_text(encoding="utf-8")).items() if value}
    return found
