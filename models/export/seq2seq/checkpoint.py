"""Loads an encoder-decoder checkpoint and says how its decoder is driven. Knows families; knows no engine."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MBartTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models.export import ExportError
from services.engines.decoder import DecoderSettings

FAMILIES = ("marian", "m2m_100", "mbart", "t5", "mt5")
"""``model_type`` of the checkpoints that are known to work; NLLB is an ``m2m_100``."""


@dataclass(frozen=True)
class Checkpoint:
    """A network, ready to compute, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return str(self.model.config.model_type)


def load(folder: Path) -> Checkpoint:
    """Open a checkpoint folder, in float32.

    Raises:
        ExportError: there are no safetensors in it, or it is of no known family.
    """
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            folder,
            dtype="float32",
            attn_implementation="eager",
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder} cannot be opened as an encoder-decoder checkpoint: {error}") from error
    return checked(model, tokenizer)


def checked(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Checkpoint:
    """A checkpoint of a known family.

    Raises:
        ExportError: it is of another.
    """
    if model.config.model_type not in FAMILIES:
        raise ExportError(f"{model.config.model_type} is not exported; known: {', '.join(FAMILIES)}")
    if getattr(tokenizer, "separate_vocabs", False):
        raise ExportError("its source and target have separate vocabularies; take a checkpoint that shares one")
    return Checkpoint(model.eval(), tokenizer)


def tokens(checkpoint: Checkpoint) -> list[str]:
    """The vocabulary by id, as long as the network's output; ids without a token of their own get a stand-in."""
    found: dict[str, int] = {}
    end = _end(checkpoint)
    for number in range(checkpoint.model.config.vocab_size):
        token = checkpoint.tokenizer.convert_ids_to_tokens(number) if number < end else None
        found[token if token is not None and token not in found else f"<unused {number}>"] = number
    return list(found)


def _end(checkpoint: Checkpoint) -> int:
    """Past the last id that the tokenizer knows."""
    tagged = getattr(checkpoint.tokenizer, "lang_code_to_id", {})
    return 1 + max(map(int, [*checkpoint.tokenizer.get_vocab().values(), *tagged.values()]))


def decoder_settings(checkpoint: Checkpoint) -> DecoderSettings:
    """How this network's decoder starts and ends."""
    config = checkpoint.model.config
    layers = config.num_decoder_layers if checkpoint.family in ("t5", "mt5") else config.decoder_layers
    banned = checkpoint.model.generation_config.bad_words_ids or []
    never = {ids[0] for ids in banned if len(ids) == 1} | ({config.pad_token_id} - {config.eos_token_id})
    return DecoderSettings(
        # mBART-25 starts with the language, which changes from item to item: it is the prefix.
        start=None if isinstance(checkpoint.tokenizer, MBartTokenizer) else config.decoder_start_token_id,
        end=config.eos_token_id,
        pad=config.pad_token_id,
        never=tuple(sorted(never)),
        positions=getattr(config, "max_position_embeddings", None),
        layers=layers,
        attention_layer=_aligned(layers),
    )


def _aligned(layers: int) -> int:
    """The layer whose attention shows best which words go together.

    In deep decoders the last but one (arXiv:1909.02074); in one of two layers, trained for this project, the last is
    right on nearly every word and the first on few.
    """
    return layers - 2 if layers > 3 else layers - 1
