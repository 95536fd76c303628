"""All clips that the recipe learns from and scores with, made once and kept in the work folder.

Knows which data there is. Does not know how it is mixed.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from clips import Clip, load, read_digits, read_others, save
from config import Config
from synthesis import held_out_voices, say_others, say_words, voices

SOUND_ALIKE = frozenset({"to", "too", "for", "fore", "won", "ate", "know", "write", "wright", "rite", "oh", "o", "nay"})
"""Words that sound like one of the vocabulary, or nearly: no examples of other speech."""


@dataclass(frozen=True, slots=True)
class Bank:
    """What there is.

    Args:
        digits: recorded, one word each.
        words: synthetic, one word each.
        others: synthetic words that are none of the vocabulary.
        recorded_others: sentences without a word of the vocabulary.
        held_out: synthetic words by voices that nothing is learned from.
        held_out_others: other sentences of the same kind.
    """

    digits: list[Clip]
    words: list[Clip]
    others: list[Clip]
    recorded_others: list[Clip]
    held_out: list[Clip]
    held_out_others: list[Clip]


def gather(config: Config, data: Path, work: Path) -> Bank:
    """Read what is recorded; make what is synthetic, unless it is there."""
    english = read_others(data / "ljspeech", config.words)
    german = read_others(data / "kerstin_de", (*config.words, "nein"))
    return Bank(
        digits=read_digits(data / "fsdd", config.digits),
        recorded_others=english[::2] + german[::2],
        held_out_others=english[1::2],
        **_synthetic(config, data, work),
    )


def _synthetic(config: Config, data: Path, work: Path) -> dict[str, list[Clip]]:
    names = ("words", "others", "held_out")
    if not all((work / f"{name}.npz").exists() for name in names):
        rng, made = random.Random(config.seed), config.synthesis  # noqa: S311  # the same for the same seed
        speakers = voices(made.speakers, rng)
        texts = _other_words(data / "ljspeech_sentences.txt", config.words)
        save(say_words(config.words, held_out_voices(made.held_out, rng)), work / "held_out.npz")
        save(say_others(texts, made, speakers, rng), work / "others.npz")
        save(say_words(config.words, speakers), work / "words.npz")
    return {name: load(work / f"{name}.npz") for name in names}


def _other_words(sentences: Path, vocabulary: tuple[str, ...], count: int = 3000) -> list[str]:
    """The most frequent words that are none of the vocabulary."""
    text = sentences.read_text(encoding="utf-8").lower()
    words = Counter(word for word in text.split() if word.isalpha())
    known = SOUND_ALIKE.union(vocabulary)
    return [word for word, _ in words.most_common() if word not in known][:count]
