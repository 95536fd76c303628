"""Recordings that are not ours to ship: tests that need one are skipped where there is none."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "speech"


def recordings(name: str = "") -> Path:
    """A file or folder of ``shared/data/speech``, beside the repository."""
    if not (_FOLDER / name).exists():
        pytest.skip(f"no shared/data/speech/{name} beside the repository")
    return _FOLDER / name
