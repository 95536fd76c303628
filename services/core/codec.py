"""Text <-> token ids for encoder-decoder models.

Reads an artefact folder: ``text.json`` says what stands around a text and which tokens are no text, and beside it lie
either sentencepiece models with ``vocabulary.json`` (Marian and M2M-100, whose ids are not sentencepiece's own) or a
``tokenizer.json``. Text is always text: a ``</s>`` or ``>>de<<`` that a user types is spelled, never obeyed.

Knows no length limit, no engine and no network; which languages go together is the catalog's business.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, Self

import sentencepiece
import tokenizers
from pydantic import BaseModel, ConfigDict

Ids = tuple[int, ...]

SPACE = "\u2581"
"""How pieces write a space."""


class Language(BaseModel):
    """What stands around a text because of one language.

    A model uses some of these: M2M-100 ``before`` and ``prefix``, multilingual Marian ``target``, mBART-25 ``after``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What the model calls it; takes the place of ``{source}`` or ``{target}`` in the template."""
    before: Ids = ()
    """Ids before a text in this language."""
    after: Ids = ()
    """Ids after it, the end included."""
    target: Ids = ()
    """Ids before a text that is to be put into this language."""
    prefix: Ids = ()
    """Ids the decoder is given to write this language."""


class TextFormat(BaseModel):
    """``text.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pieces: Literal["sentencepiece", "tokenizers"]
    template: str = ""
    """Text before every text, such as ``translate {source} to {target}:`` and a space."""
    languages: dict[str, Language] = {}
    """By ISO code. A model of one language has none."""
    after: Ids = ()
    """Ids after a text where there are no languages."""
    prefix: Ids = ()
    """Ids the decoder is given where there are no languages."""
    silent: frozenset[int] = frozenset()
    """Ids that are no text: special and language tokens, and ids no token has."""
    unknown: int = 0
    """Id of what the vocabulary lacks."""
    holders: tuple[str, ...] = ()
    """Single characters that the model was trained to copy, one token each."""


class _Pieces(Protocol):
    """Bare text <-> ids, with nothing around it."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids none of which are silent."""

    def piece(self, token: int) -> str:
        """A token as the vocabulary writes it."""


class Codec:
    """The text side of one encoder-decoder model; safe to use from several threads."""

    def __init__(self, text: TextFormat, pieces: _Pieces) -> None:
        self._text = text
        self._pieces = pieces
        self.holders = text.holders

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read ``text.json`` and the vocabulary beside it."""
        text = TextFormat.model_validate_json((artefact / "text.json").read_bytes())
        pieces = _SentencePiece(artefact, text) if text.pieces == "sentencepiece" else _Tokenizers(artefact)
        return cls(text, pieces)

    def encode(self, texts: Sequence[str], source: str, target: str) -> list[Ids]:
        """Ids of each text with all that the encoder wants around them.

        Args:
            texts: what to encode; a text of no tokens gives what stands around it alone.
            source: ISO code of their language.
            target: ISO code of the language they are to be put into. A model without languages ignores both.

        Raises:
            KeyError: the model does not know one of the languages.
        """
        before, after, opening = self._around(source, target)
        return [(*before, *ids, *after) for ids in self._pieces.encode([opening + text for text in texts])]

    def prefix(self, target: str) -> Ids:
        """What the decoder is given to write this language; empty where the model needs nothing.

        Raises:
            KeyError: the model does not know the language.
        """
        return self._text.languages[target].prefix if self._text.languages else self._text.prefix

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids that the model wrote, without special and language tokens."""
        return self._pieces.decode(list(self._spoken(tokens)))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Each token as readable text, spaces as spaces; to show what goes with what."""
        return [self._pieces.piece(token).replace(SPACE, " ") for token in tokens]

    def _around(self, source: str, target: str) -> tuple[Ids, Ids, str]:
        if not self._text.languages:
            return (), self._text.after, self._text.template
        one, other = self._text.languages[source], self._text.languages[target]
        opening = self._text.template.format(source=one.name, target=other.name)
        return (*other.target, *one.before), one.after, opening

    def _spoken(self, tokens: Iterable[int]) -> Iterable[int]:
        return (token for token in tokens if token not in self._text.silent)


class _SentencePiece:
    """sentencepiece models whose pieces have the ids of ``vocabulary.json`` (pieces in the order of ids).

    ``source.model`` reads; ``target.model``, where there is one, writes.
    """

    def __init__(self, artefact: Path, text: TextFormat) -> None:
        self._reader = sentencepiece.SentencePieceProcessor(model_file=str(artefact / "source.model"))
        target = artefact / "target.model"
        self._writer = sentencepiece.SentencePieceProcessor(model_file=str(target)) if target.exists() else self._reader
        self._by_id: list[str] = json.loads((artefact / "vocabulary.json").read_text(encoding="utf-8"))
        # A run of unknown characters is one piece, spelled as it is: it must not be taken for a special token.
        self._ids = {piece: number for number, piece in enumerate(self._by_id) if number not in text.silent}
        self._unknown = text.unknown

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        # By piece, not by sentencepiece's id: a piece that only the target's model has is known all the same. One
        # thread: the lanes share the CPUs already.
        found = self._reader.encode(list(texts), out_type=str, num_threads=1)
        return [[self._ids.get(piece, self._unknown) for piece in pieces] for pieces in found]

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self._writer.decode([self._by_id[token] for token in tokens])
        return text.replace(SPACE, " ").strip()

    def piece(self, token: int) -> str:
        return self._by_id[token] if token < len(self._by_id) else ""


class _Tokenizers:
    """A ``tokenizer.json`` without special tokens, cutting and padding."""

    def __init__(self, artefact: Path) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(artefact / "tokenizer.json"))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text.strip()

    def piece(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""
