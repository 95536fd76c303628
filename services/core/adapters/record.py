"""What an adapter is to those that run it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


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


@runtime_checkable
class AdapterUse(Protocol):
    """Knows what runs on which adapter, in this process."""

    def running(self, digest: str) -> int:
        """How many sequences run on the adapter with this digest, or wait to."""
