"""The model that the pocketsphinx wheel carries -> an artefact: its files, settings for the library, the detector.

Other models in the same layout are taken too. What the settings are, and what was tried: the card of ``sphinx-en``.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.voice import copy_voice_detector
from services.core.catalog import ModelSpec, Precision
from services.engines.pocketsphinx.recognizer import SETTINGS

_FILES = {"hmm": "en-us", "lm": "en-us.lm.bin", "dict": "cmudict-en-us.dict"}
"""By the library's names: acoustic model (a folder), language model, dictionary."""

_CHOSEN = {"compallsen": True}
"""All sounds are scored in every frame: only then are scores of a small grammar comparable, and can be too bad."""


def export_pocketsphinx(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``model``: the folder ``en-us`` of the wheel's; ``vad``: the voice detector.

    Raises:
        ExportError: a file is missing, or another precision than fp32 is asked for.
    """
    if spec.precision != Precision.FP32:
        raise ExportError(f"{spec.id}: pocketsphinx has its own number formats; set precision to fp32")
    for name in _FILES.values():
        _copy(sources["model"] / name, target / name)
    copy_voice_detector(sources, target)
    (target / SETTINGS).write_text(json.dumps({**_FILES, **_CHOSEN}, indent=2), encoding="utf-8")
    return {"words": len((target / _FILES["dict"]).read_bytes().splitlines())}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)
    else:
        raise ExportError(f"{source.parent} has no {source.name}; name a folder laid out as the pocketsphinx wheel's")
