"""The voice detector that every recogniser's artefact carries."""

import shutil
from collections.abc import Mapping
from pathlib import Path

ROLE = "vad"
"""Of the source that is the detector, in a catalog entry."""


def copy_voice_detector(folders: Mapping[str, Path], target: Path) -> None:
    """Put the detector among ``folders`` into an artefact, as ``vad.onnx``."""
    shutil.copyfile(folders[ROLE] / "silero_vad_16k_sequence.onnx", target / "vad.onnx")
