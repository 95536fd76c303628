"""Loads a checkpoint that writes letters by CTC, and tells what its tokens and frames are. Knows no engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import (
    AutoFeatureExtractor,
    AutoModelForCTC,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from models.export import ExportError
from services.core.audio import SPEECH_RATE
from services.core.errors import invalid
from services.engines.ctc.format import CtcFormat, LanguageModelSettings

FAMILIES = ("wav2vec2", "hubert", "wavlm")
"""``model_type`` of the checkpoints that are known to work."""


@dataclass(frozen=True)
class Checkpoint:
    """A network, ready to compute, its tokenizer, and how it wants its waveform."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    features: Any


def load(folder: Path) -> Checkpoint:
    """Open a checkpoint folder, in float32.

    Raises:
        ExportError: there are no safetensors in it, or it is of no known family.
    """
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        model = AutoModelForCTC.from_pretrained(
            folder, dtype="float32", attn_implementation="eager", use_safetensors=True, **safely
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
        features = AutoFeatureExtractor.from_pretrained(folder, **safely)
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder} cannot be opened as a CTC checkpoint: {error}") from error
    config = model.config
    if config.model_type not in FAMILIES or getattr(config, "add_adapter", False):
        raise ExportError(f"{config.model_type} is not exported; known: {', '.join(FAMILIES)}, without adapter layers")
    if features.sampling_rate != SPEECH_RATE:
        raise ExportError(f"{folder} hears {features.sampling_rate} Hz; only {SPEECH_RATE} is supported")
    return Checkpoint(model.eval(), tokenizer, features)


def described(
    checkpoint: Checkpoint, languages: tuple[str, ...], language_model: LanguageModelSettings | None
) -> CtcFormat:
    """What the engine has to know beside the graph.

    Raises:
        ExportError: the vocabulary is not one of letters, with a blank and a delimiter between words.
    """
    tokenizer, config = checkpoint.tokenizer, checkpoint.model.config
    tokens = _tokens(tokenizer, config.vocab_size)
    delimiter = getattr(tokenizer, "word_delimiter_token", None)
    if delimiter not in tokens or tokenizer.pad_token not in tokens:
        raise ExportError("the checkpoint's vocabulary has no blank (its padding token), or no word delimiter")
    blank, between = tokens.index(tokenizer.pad_token), tokens.index(delimiter)
    special = {*tokenizer.all_special_tokens, tokenizer.unk_token}
    silent = [number for number, token in enumerate(tokens) if token in special or token.startswith("<unused ")]
    field, stride = _window(config)
    try:
        return CtcFormat(
            tokens=tokens,
            blank=blank,
            delimiter=between,
            silent=tuple(number for number in silent if number not in (blank, between)),
            frame_seconds=stride / SPEECH_RATE,
            frame_offset=(field - stride) / 2 / SPEECH_RATE,
            fewest_samples=field,
            normalize=checkpoint.features.do_normalize,
            formatted=_formatted(checkpoint),
            languages=languages,
            language_model=language_model,
        )
    except ValidationError as error:
        raise ExportError(f"the checkpoint's vocabulary is not one of letters: {invalid(error).message}") from error


def _tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[str, ...]:
    """By id, as many as there are logits; ids without a token get a stand-in."""
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    return tuple(names.get(number, f"<unused {number}>") for number in range(size))


def _formatted(checkpoint: Checkpoint) -> bool:
    """Whether the vocabulary tells cases apart: all in capitals is only a manner of writing it."""
    if getattr(checkpoint.tokenizer, "do_lower_case", False):
        return False
    letters = [token for token in checkpoint.tokenizer.get_vocab() if len(token) == 1 and token.isalpha()]
    return any(letter.islower() for letter in letters) and any(letter.isupper() for letter in letters)


def _window(config: Any) -> tuple[int, int]:
    """Samples that a frame sees, and from one frame to the next: the convolutions are stacked, and pad nothing."""
    field, stride = 1, 1
    for kernel, step in zip(config.conv_kernel, config.conv_stride, strict=True):
        field += (kernel - 1) * stride
        stride *= step
    return field, stride
