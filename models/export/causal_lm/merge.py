"""A checkpoint and a LoRA adapter of it -> one checkpoint, for engines that take no adapters."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from models.export import ExportError
from models.export.causal_lm.checkpoint import Checkpoint, opened

_TEXT = ("*.json", "*.model", "*.jinja")


@contextmanager
def merged(checkpoint: Checkpoint, adapter: Path, scratch: Path) -> Iterator[Checkpoint]:
    """The checkpoint with the adapter in its weights, in fp32: merging in fewer bits would lose some of it.

    Raises:
        ExportError: the adapter is not one of safetensors, or of another base.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        for pattern in _TEXT:
            for file in checkpoint.folder.glob(pattern):
                if not file.name.endswith(".index.json"):
                    shutil.copyfile(file, folder / file.name)
        _merge(checkpoint.folder, adapter).save_pretrained(folder)
        yield opened(folder)


def _merge(base: Path, adapter: Path) -> PreTrainedModel:
    if not (adapter / "adapter_model.safetensors").is_file():
        raise ExportError(f"{adapter}: there is no adapter_model.safetensors; pickled adapters are not opened")
    network = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, trust_remote_code=False, use_safetensors=True, local_files_only=True
    )
    try:
        whole: PreTrainedModel = PeftModel.from_pretrained(network, str(adapter)).merge_and_unload()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ExportError(f"{adapter} is no adapter of {base}: {error}") from error
    return whole
