"""Packed weights of a small M2M-100 -> a checkpoint like any other.

A folder of `models/weights`: ``model.safetensors`` (see `packing`), ``config.json`` (an ``M2M100Config``),
``vocabulary.model`` (sentencepiece) and ``text.json`` with the ``holders``. Ids are laid out as in M2M-100: four
special tokens, the pieces, the language tokens, eight unused ones.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sentencepiece
from safetensors.torch import load_file
from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

from models.export import ExportError
from models.export.seq2seq.checkpoint import Checkpoint, checked
from models.export.seq2seq.packing import unpack

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_FIRST_PIECE = 3
"""Pieces before it are sentencepiece's own ``<unk>``, ``<s>`` and ``</s>``."""


def holders(folder: Path) -> tuple[str, ...]:
    """Characters that the model was trained to copy.

    Raises:
        ExportError: one of them is not one piece of the vocabulary.
    """
    file = folder / "text.json"
    found = tuple(json.loads(file.read_text(encoding="utf-8")).get("holders", [])) if file.exists() else ()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "vocabulary.model"))
    if missing := [character for character in found if pieces.piece_to_id(character) == pieces.unk_id()]:
        raise ExportError(f"{file}: the vocabulary has no piece for {missing}")
    return found


@contextmanager
def unpacked(folder: Path) -> Iterator[Checkpoint]:
    """The checkpoint; files that its tokenizer was read from are gone afterwards.

    Raises:
        ExportError: the weights are not those of the network that the config describes.
    """
    model = _network(folder)
    with tempfile.TemporaryDirectory() as scratch:
        yield checked(model, _tokenizer(folder / "vocabulary.model", Path(scratch)))


def _network(folder: Path) -> M2M100ForConditionalGeneration:
    model = M2M100ForConditionalGeneration(M2M100Config.from_json_file(folder / "config.json"))
    model.set_attn_implementation("eager")
    try:
        missing, _ = model.load_state_dict(unpack(load_file(folder / "model.safetensors")), strict=False)
    except RuntimeError as error:
        raise ExportError(f"{folder}: model.safetensors does not fit config.json: {error}") from error
    model.tie_weights()
    tied = {name for name in missing if "embed_tokens" in name or name == "lm_head.weight"}
    if lacking := set(missing) - tied:
        raise ExportError(f"{folder}: model.safetensors lacks {', '.join(sorted(lacking))}")
    return model


def _tokenizer(vocabulary: Path, scratch: Path) -> M2M100Tokenizer:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    tokens = _SPECIAL + [pieces.id_to_piece(number) for number in range(_FIRST_PIECE, pieces.get_piece_size())]
    file = scratch / "vocab.json"
    file.write_text(json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8")
    return M2M100Tokenizer(vocab_file=str(file), spm_file=str(vocabulary))
