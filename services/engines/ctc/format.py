"""What a CTC artefact holds: written by exporters and recipes, read by the engine. Knows neither networks nor decoders.

A folder with

- ``model.onnx``: input ``input_values`` float32 ``[batch, samples]`` (the waveform at 16 kHz), if it likes also
  ``attention_mask`` int32 or int64 ``[batch, samples]`` (1: sound, 0: padding at the end); output ``logits`` float32
  ``[batch, frames, tokens]``, a softmax away from probabilities (log probabilities are logits, too);
- ``ctc.json``: the `CtcFormat` of this module;
- the language model that it names, if it names one: n-grams of words in ARPA format, gzipped or not.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.core.audio import SPEECH_RATE
from services.core.catalog import LanguageCode

FILE = "ctc.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LanguageModelSettings(_Record):
    """N-grams of words, and how much they count beside the sound. Their words are written as the engine's texts are."""

    file: str = Field(default="lm.arpa.gz", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """In the artefact folder; ARPA, gzipped if it ends in ``.gz``."""
    weight: float = Field(default=0.5, ge=0)
    """Of a word's natural log probability (alpha)."""
    word_bonus: float = 1.0
    """Added for each word, against the language model's love of few words (beta)."""
    unknown: float = Field(default=-10.0, le=0)
    """Added, beside its log probability, for each word that is not in the language model."""


class CtcFormat(_Record):
    """Ids, times and texts of a network's output.

    Raises:
        ValidationError: an id is outside the vocabulary or stands for two things, or nothing at all can be written.
    """

    tokens: tuple[str, ...]
    """By id, one for each column of the logits: characters, or whole words. What special ones are called is free."""
    blank: int = Field(ge=0)
    """Id that writes nothing and parts two equal tokens."""
    delimiter: int | None = Field(default=None, ge=0)
    """Id that ends a word, where tokens are characters; None: each token is a whole word."""
    silent: tuple[int, ...] = ()
    """Other ids that write nothing, such as ``<s>`` and ``<unk>``: their probability is added to the blank's."""
    frame_seconds: float = Field(gt=0)
    """From one frame to the next."""
    frame_offset: float = 0.0
    """Seconds at which the first frame's stretch, ``frame_seconds`` long, begins. A frame that sees more than that
    (its receptive field) stands for the middle of it: for wav2vec 2.0 (0.025 - 0.020) / 2."""
    fewest_samples: int = Field(default=1, ge=1)
    """With which there is a frame; what is shorter gets silence after it."""
    normalize: bool = False
    """Whether the network wants zero mean and unit variance over an utterance (``do_normalize`` of transformers)."""
    batches: bool = False
    """Whether the graph gives an utterance in a padded batch, with its attention mask, the logits that it gives it
    alone, as many as `frames` tells. If not (norms over time, dynamic quantization), each runs by itself."""
    formatted: bool = False
    """Whether tokens are written as they are, with case and punctuation; if not, in lower case."""
    languages: tuple[LanguageCode, ...] = Field(min_length=1)
    """ISO 639 codes of what it understands; the first is told as that of every answer."""
    seconds: float = Field(default=30.0, gt=0)
    """Longest utterance."""
    beam: int = Field(default=16, ge=1, le=256)
    """Texts kept at each frame while searching: with a language model, a word bonus, hot words, or for several
    hypotheses. Without these, the best token of each frame is taken."""
    word_bonus: float = Field(default=0.0, le=0, allow_inf_nan=False)
    """Added, in natural logarithms, for each token that is a whole word. Below 0, it takes
    more than a frame or two to make a word: for networks that tell a word in every frame of it."""
    hot_bonus: float = Field(default=1.5, ge=0)
    """Added, in natural logarithms, for each letter of a hot word that is written."""
    language_model: LanguageModelSettings | None = None

    @model_validator(mode="after")
    def _ids(self) -> Self:
        special = [self.blank, *self.silent, *([] if self.delimiter is None else [self.delimiter])]
        if max(special) >= len(self.tokens) or min(special) < 0:
            raise ValueError(f"the vocabulary has {len(self.tokens)} tokens; blank, delimiter and silent are ids in it")
        if len(set(special)) < len(special):
            raise ValueError("blank, delimiter and silent are different ids")
        if self.word_bonus and self.delimiter is not None:
            raise ValueError(
                "only tokens that are whole words have a word bonus; with letters, it is the language model's"
            )
        written = [token for number, token in enumerate(self.tokens) if number not in special]
        if not written or not all(written) or any(token != "".join(token.split()) for token in written):
            raise ValueError("at least one token is written, and those that are have no spaces and are not empty")
        return self

    def frames(self, samples: int) -> int:
        """Of a waveform, by a network that pads nothing: one for its first samples, one for each stride after."""
        return (samples - self.fewest_samples) // round(self.frame_seconds * SPEECH_RATE) + 1

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read it from an artefact folder.

        Raises:
            OSError: there is none.
            ValidationError: it is none.
        """
        return cls.model_validate_json((artefact / FILE).read_bytes())

    def save(self, artefact: Path) -> None:
        """Write it into an artefact folder."""
        (artefact / FILE).write_text(self.model_dump_json(indent=2), encoding="utf-8")
