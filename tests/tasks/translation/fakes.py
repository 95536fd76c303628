"""A translator of letters: tokens are characters, and the translation is the text in capitals."""

from collections.abc import Sequence

import numpy as np

from services.core.catalog import ModelSpec
from services.core.engine import Decoding, Hypothesis, Seq2SeqInput
from services.tasks.translation.pipeline import TranslatePipeline

SPEC = ModelSpec(
    task="translation",
    name="letters",
    description="",
    engine="fake",
    languages={"en": "en", "de": "de", "fr": "fr", "es": "es"},
    pairs=("en-de", "de-en", "en-fr", "fr-en", "en-es"),
    max_tokens=120,
    licence="none",
)
HOLDERS = tuple(chr(0xE000 + number) for number in range(8))
END, START = 0, 1


class LetterCodec:
    def __init__(self, holders: tuple[str, ...] = HOLDERS) -> None:
        self.holders = holders

    def encode(self, texts: Sequence[str], source: str, target: str) -> list[tuple[int, ...]]:
        return [(*map(ord, text), END) for text in texts]

    def prefix(self, target: str) -> tuple[int, ...]:
        return (START,)

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return list(map(chr, tokens))


class Capitals:
    """Translates as it should, and remembers its runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[list[Seq2SeqInput], Decoding]] = []

    def say(self, text: str, decoding: Decoding) -> str:
        return text.upper()

    def run(self, batch: Sequence[Seq2SeqInput], decoding: Decoding) -> list[tuple[Hypothesis, ...]]:
        self.runs.append((list(batch), decoding))
        return [self._hypotheses(one, decoding) for one in batch]

    def _hypotheses(self, one: Seq2SeqInput, decoding: Decoding) -> tuple[Hypothesis, ...]:
        said = list(map(ord, self.say("".join(map(chr, one.source[:-1])), decoding)))
        tokens = tuple(said[: one.max_tokens])
        weights = np.full((len(tokens), len(one.source)), 1 / len(one.source), np.float32)
        found = [(tokens + (ord("~"),) * rank, -0.1 * (rank + 1)) for rank in range(decoding.hypotheses)]
        return tuple(
            Hypothesis(own, score, len(said) <= one.max_tokens, weights if decoding.attention else None)
            for own, score in found
        )

    def close(self) -> None:
        pass


def pipeline(engine: Capitals, holders: tuple[str, ...] = HOLDERS) -> TranslatePipeline:
    return TranslatePipeline(SPEC, LetterCodec(holders), engine)  # type: ignore[arg-type]
