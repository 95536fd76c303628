"""The text side of a checkpoint -> the artefact's: ``tokenizer.json``, the chat template, defaults of generation."""

import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from models.export import ExportError
from models.export.causal_lm.checkpoint import Checkpoint

COPIED = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "generation_config.json")
_VOCABULARIES = ("tokenizer.model", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


def write_text(checkpoint: Checkpoint, target: Path) -> None:
    """Copy what is there, make ``tokenizer.json`` if it is not.

    Raises:
        ExportError: there is no vocabulary, or it has tokens that the network does not know.
    """
    for name in COPIED:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, target / name)
    if (checkpoint.folder / "tokenizer.json").is_file():
        shutil.copyfile(checkpoint.folder / "tokenizer.json", target / "tokenizer.json")
    else:
        _convert(checkpoint.folder, target)
    known = Tokenizer.from_file(str(target / "tokenizer.json")).get_vocab_size(with_added_tokens=True)
    if known > checkpoint.config.vocab_size:
        raise ExportError(
            f"{checkpoint.folder}: its tokenizer knows {known} tokens, its network only {checkpoint.config.vocab_size}"
        )


def _convert(folder: Path, target: Path) -> None:
    """``tokenizer.json`` of a vocabulary in another form, as transformers reads it."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ExportError(f"{folder}: there is no tokenizer.json, nor a vocabulary to make it from")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            tokenizer.save_pretrained(scratch)
            shutil.copyfile(Path(scratch) / "tokenizer.json", target / "tokenizer.json")
        except (OSError, ValueError, ImportError) as error:
            raise ExportError(f"{folder}: its tokenizer cannot be converted: {error}") from error
