"""Checkpoints of llama2.c -> what transformers reads, and from there artefacts like any other's.

- ``checkpoint``: the network
- ``tokenizer``: the vocabulary

Their ``.bin`` files are plain numbers, not pickles.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.export import ExportError
from models.export.causal_lm import export_causal_lm
from models.export.llama2c.checkpoint import read_network
from models.export.llama2c.tokenizer import read_tokenizer
from services.core.catalog import ModelSpec


def export_llama2c(spec: ModelSpec, sources: Mapping[str, Path], target: Path) -> dict[str, Any]:
    """``weights``: a folder with a checkpoint, ``<name>.bin``, and its tokenizer, ``tok<size>.bin``.

    Raises:
        ExportError: there are not these two, or one of them is something else.
    """
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        convert(sources["weights"], Path(scratch))
        return export_causal_lm(spec, {"weights": Path(scratch)}, target)


def convert(folder: Path, target: Path) -> None:
    """Write a folder as ``save_pretrained`` would.

    Raises:
        ExportError: as above.
    """
    tokenizers = sorted(folder.glob("tok*.bin"))
    networks = sorted(set(folder.glob("*.bin")) - set(tokenizers))
    if len(tokenizers) != 1 or len(networks) != 1:
        raise ExportError(f"{folder}: give one checkpoint of llama2.c and one tokenizer, tok<size>.bin")
    network = read_network(networks[0])
    network.generation_config.eos_token_id = [1, 2]  # in its training data the next story's start ends a story
    network.save_pretrained(target)
    read_tokenizer(tokenizers[0], network.config.vocab_size).save(str(target / "tokenizer.json"))
