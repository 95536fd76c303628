"""Adapters: low-rank changes to a base model, as versioned artefacts that are loaded while the model serves.

    record     what an adapter is to those that run it
    names      what adapters may be called
    header     which tensors a safetensors file holds
    config     what ``adapter_config.json`` may say
    checks     whether an adapter fits its base
    intake     files taken from a folder that is not trusted
    manifest   what is kept beside an adapter's files
    shelf      one name's folder on disk
    memory     what was found before, for as long as it holds
    library    adapters on disk: found, added, removed, while others read

Needs no torch and no peft: weights are only looked at.
"""

from services.core.adapters.checks import BaseShapes, Checked, check_adapter, linear_shapes
from services.core.adapters.config import LoraConfig, read_config
from services.core.adapters.intake import refuse_without, within
from services.core.adapters.library import AdapterLibrary, Added, Check
from services.core.adapters.manifest import damage, read_manifest
from services.core.adapters.record import Adapter, AdapterUse

__all__ = [
    "Adapter",
    "AdapterLibrary",
    "AdapterUse",
    "Added",
    "BaseShapes",
    "Check",
    "Checked",
    "LoraConfig",
    "check_adapter",
    "damage",
    "linear_shapes",
    "read_config",
    "read_manifest",
    "refuse_without",
    "within",
]
