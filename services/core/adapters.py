"""Adapters: low-rank changes to a base model, as versioned artefacts that are loaded while the model serves."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Adapter:
    """One version of an adapter.

    Args:
        base: id of the model it changes, ``name@version``.
        name: what requests call it.
        version: of the adapter.
        digest: SHA-256 over its files: what caches are keyed by, since a name may come to mean another one.
        folder: holds ``adapter_config.json`` and ``adapter_model.safetensors``, checked.
        rank: of its matrices, the largest.
    """

    base: str
    name: str
    version: str
    digest: str
    folder: Path
    rank: int

    @property
    def id(self) -> str:
        """``base@version:name@version``, as answers carry it."""
        return f"{self.base}:{self.name}@{self.version}"
