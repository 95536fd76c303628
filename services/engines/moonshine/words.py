"""Tokens with times -> words with times."""

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from services.core.speech import Word
from services.engines.moonshine.search import Hypothesis

SPACE = "▁"
"""What pieces that begin a word begin with."""


class Vocabulary:
    """Writes tokens.

    Args:
        tokenizer: can only decode.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, artefact: Path) -> Self:
        """Read ``tokenizer.json``."""
        return cls(Tokenizer.from_file(str(artefact / "tokenizer.json")))

    def text(self, tokens: Sequence[int]) -> str:
        """Without spaces around it."""
        return str(self._tokenizer.decode(list(tokens))).strip()

    def words(self, found: Hypothesis, times: Sequence[float]) -> tuple[Word, ...]:
        """Words as they are written; each ends where the next one begins.

        Args:
            found: what was said.
            times: when each token begins, and after the last when something else does.
        """
        places = [place for place, token in enumerate(found.tokens) if place == 0 or self._begins(token)]
        spans = zip(places, [*places[1:], len(found.tokens)], strict=True)
        words = (self._word(found, times, first, after) for first, after in spans)
        return tuple(word for word in words if word.text)

    def _begins(self, token: int) -> bool:
        piece = self._tokenizer.id_to_token(token)
        return bool(piece and piece.startswith(SPACE))

    def _word(self, found: Hypothesis, times: Sequence[float], first: int, after: int) -> Word:
        chances = found.log_probs[first:after]
        probability = min(1.0, exp(sum(chances) / len(chances)))
        return Word(self.text(found.tokens[first:after]), times[first], times[after], probability)
