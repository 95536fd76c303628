"""Tokens of Whisper and text, both ways. Knows the tokenizer and special tokens; knows no sound."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from services.core.speech import Recognition
from services.engines.whisper.settings import WhisperSettings

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages that write no spaces between words: each character is given a time of its own."""

_UNFINISHED = "\ufffd"
_LONGEST = 8
"""Tokens that may spell one character; what is none after so many is not going to be one."""


class WhisperText:
    """A tokenizer, and the special tokens around what it reads.

    Args:
        tokenizer: of the checkpoint.
        settings: of it.
        context: most tokens, prompt included.
    """

    def __init__(self, tokenizer: Tokenizer, settings: WhisperSettings, context: int) -> None:
        self._tokenizer = tokenizer
        # A prompt is text of a caller: "<|translate|>" in it is no order.
        self._tokenizer.encode_special_tokens = True
        self._settings = settings
        self._before = context // 2 - 1

    @classmethod
    def load(cls, artefact: Path, settings: WhisperSettings, context: int) -> Self:
        """Read the tokenizer of an artefact."""
        return cls(Tokenizer.from_file(str(artefact / "tokenizer.json")), settings, context)

    def start(self, language: str, *, translate: bool) -> tuple[int, ...]:
        """What every transcript begins with."""
        settings = self._settings
        if not settings.multilingual:
            return (settings.start,)
        task = settings.translate if translate else settings.transcribe
        return (settings.start, settings.languages[language], task)

    def before(self, recognition: Recognition) -> tuple[int, ...]:
        """What is said to have been said before: hot words, then the end of the prompt; half the context at most."""
        names = self._ids(", ".join(recognition.hot_words))[: self._before // 2]
        ids = names + self._ids(recognition.prompt)[len(names) - self._before :]
        return (self._settings.previous, *ids) if ids else ()

    def name(self, token: int) -> str:
        """Of a token, as CTranslate2 calls it."""
        return str(self._tokenizer.id_to_token(token))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; times and other special ones say nothing. Not stripped."""
        return str(self._tokenizer.decode(self.spoken(tokens)))

    def spoken(self, tokens: Sequence[int]) -> list[int]:
        """Those that are text."""
        return [token for token in tokens if token < self._settings.end]

    def words(self, tokens: Sequence[int], language: str) -> list[tuple[str, int]]:
        """Words of text tokens, with the punctuation that touches them: as written, spaces included; how many tokens.

        A mark that opens belongs to what follows, any other one to what is before.
        """
        found: list[tuple[str, int]] = []
        for piece, count in self._pieces(tokens):
            if found and not self._begins(piece, found[-1][0], language):
                found[-1] = (found[-1][0] + piece, found[-1][1] + count)
            else:
                found.append((piece, count))
        return found

    def _begins(self, piece: str, before: str, language: str) -> bool:
        """Whether a piece of text begins a new word."""
        if piece[:1].isspace() or language not in _UNSPACED:
            return piece[:1].isspace()
        latin = piece.isascii() and before[-1:].isascii()
        return not (latin or _closes(piece) or _opens(before))

    def _pieces(self, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """Tokens, as many together as make whole characters."""
        found: list[tuple[str, int]] = []
        held: list[int] = []
        for token in tokens:
            held.append(token)
            piece = str(self._tokenizer.decode(held))
            if _UNFINISHED not in piece or len(held) == _LONGEST:
                found.append((piece, len(held)))
                held = []
        return [*found, (str(self._tokenizer.decode(held)), len(held))] if held else found

    def _ids(self, text: str) -> list[int]:
        text = text.strip()
        return list(self._tokenizer.encode(f" {text}", add_special_tokens=False).ids) if text else []


def _opens(text: str) -> bool:
    return unicodedata.category(text[-1:] or " ") in ("Ps", "Pi")


def _closes(text: str) -> bool:
    return unicodedata.category(text[:1] or " ") in ("Pe", "Pf", "Po", "Pd")
