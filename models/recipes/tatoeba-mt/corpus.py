"""Sentence pairs as token ids: reads Tatoeba files, trains the vocabulary, cuts batches. Knows no network.

Ids are those of M2M-100's tokenizer: <s> 0, <pad> 1, </s> 2, <unk> 3, the pieces, then the languages.
"""

import gzip
import io
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from config import Config
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]
from torch import Tensor
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

PAD, END, UNKNOWN = 1, 2, 3
_SHIFT = 1
"""SentencePiece has <unk> 0, <s> 1, </s> 2, then pieces; M2M-100 has one more before its pieces."""

LANGUAGES = FAIRSEQ_LANGUAGE_CODES["m2m100"]

HOLDERS = [chr(0xE000 + number) for number in range(8)]
"""What stands for a span that is to come out as it is (a name, a number, a tag): private characters, a piece each."""

_SAME = re.compile(r"\b(?:[^\W\d_]*[A-ZÄÖÜÉ]\w+|\d+(?:[.,:]\d+)*)\b")
"""What may be the same on both sides: names and numbers."""

_STEP = 4
"""Lengths are rounded up to a multiple of it: fewer shapes of batches, each compiled once."""

Ids = np.ndarray


@dataclass(frozen=True)
class Vocabulary:
    """The SentencePiece model of all languages."""

    pieces: sentencepiece.SentencePieceProcessor

    @property
    def size(self) -> int:
        """Rows of the embedding table: pieces, languages, and the eight unused ones M2M-100 has."""
        return int(self.pieces.vocab_size() + _SHIFT + len(LANGUAGES) + 8)

    def language(self, code: str) -> int:
        """The id of a language."""
        return int(self.pieces.vocab_size()) + _SHIFT + int(LANGUAGES.index(code))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without language and end."""
        return [
            [number + _SHIFT if number > 2 else UNKNOWN for number in ids]
            for ids in self.pieces.encode(list(texts), num_threads=2)
        ]


@dataclass(frozen=True)
class Batch:
    """Pairs of alike length, padded.

    Args:
        source: [pairs, length], language first, end last.
        target: [pairs, length + 1], end and language first, end last; the decoder reads all but the last and writes all
            but the first.
    """

    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class Pairs:
    """One direction: ids of source and target sentences, languages and ends included."""

    sources: list[Ids]
    targets: list[Ids]


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Pairs of a file ``english<TAB>other``, gzipped or not."""
    opener = gzip.open if file.suffix == ".gz" else io.open
    with opener(file, "rt", encoding="utf-8") as lines:
        found = (line.rstrip("\n").split("\t") for line in lines)
        return [(parts[0], parts[1]) for parts in found if len(parts) == 2 and all(parts)]


def train_vocabulary(texts: Iterator[str], size: int, model: Path) -> None:
    """A unigram model in which every byte can be written."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts,
        model_writer=(buffer := io.BytesIO()),
        vocab_size=size,
        model_type="unigram",
        character_coverage=0.9999,
        byte_fallback=True,
        num_threads=2,
        input_sentence_size=1_000_000,
        shuffle_input_sentence=True,
        minloglevel=2,
    )
    model.write_bytes(with_holders(buffer.getvalue()))


def with_holders(model: bytes) -> bytes:
    """The model with its rarest pieces of several letters given up for `HOLDERS`."""
    proto = ModelProto.FromString(model)
    longer = [piece for piece in proto.pieces if piece.type == ModelProto.SentencePiece.NORMAL and len(piece.piece) > 3]
    for piece, holder in zip(sorted(longer, key=lambda piece: piece.score), HOLDERS, strict=False):
        piece.piece, piece.type, piece.score = holder, ModelProto.SentencePiece.USER_DEFINED, 0.0
    return bytes(proto.SerializeToString())


def hide(pair: tuple[str, str], rng: random.Random) -> tuple[str, str]:
    """The pair with holders that stand in both texts, so that the model learns to copy them.

    Most stand for words that both sides share; some, as tags do, around such a word, and some before or after it all.
    """
    source, target = pair
    there = [word for word in _SAME.findall(source) if source.count(word) == target.count(word) == 1]
    shared = [word for word in there if word in _SAME.findall(target)][: len(HOLDERS)]
    kind = rng.random()
    if shared and kind < 0.6:
        chosen = rng.sample(shared, rng.randint(1, len(shared)))
        for word, holder in zip(chosen, rng.sample(HOLDERS, len(chosen)), strict=True):
            source, target = source.replace(word, holder), target.replace(word, holder)
    elif shared and kind < 0.8:
        word, (opening, closing) = rng.choice(shared), rng.sample(HOLDERS, 2)
        source, target = (text.replace(word, f"{opening} {word} {closing}") for text in pair)
    elif kind > 0.6:
        first, last = (rng.choice(("", f"{holder} ")) for holder in rng.sample(HOLDERS, 2))
        source, target = (f"{first}{text} {last}".strip() for text in pair)
    return source, target


def both_directions(
    vocabulary: Vocabulary, pairs: Sequence[tuple[str, str]], other: str, longest: int
) -> tuple[Pairs, Pairs]:
    """English to the other language and back; pairs that are too long or too unlike in length are left out."""
    english, foreign = (vocabulary.encode([pair[side] for pair in pairs]) for side in (0, 1))
    kept = [
        (e, f)
        for e, f in zip(english, foreign, strict=True)
        if 0 < len(e) <= longest - 2
        and 0 < len(f) <= longest - 2
        and len(e) <= 3 * len(f) + 4
        and len(f) <= 3 * len(e) + 4
    ]
    return _pairs(vocabulary, kept, "en", other), _pairs(vocabulary, [(f, e) for e, f in kept], other, "en")


def _pairs(vocabulary: Vocabulary, ids: list[tuple[list[int], list[int]]], source: str, target: str) -> Pairs:
    first, second = vocabulary.language(source), vocabulary.language(target)
    return Pairs(
        [np.array([first, *one, END], np.int16) for one, _ in ids],
        [np.array([END, second, *other, END], np.int16) for _, other in ids],
    )


def batches(directions: Sequence[Pairs], config: Config, rng: random.Random) -> list[Batch]:
    """An epoch: all directions mixed, pairs of alike length together, in random order."""
    batch_tokens = config.training.batch_tokens
    pairs = [
        pair for one in directions for pair in joined(list(zip(one.sources, one.targets, strict=True)), config, rng)
    ]
    buckets: dict[int, list[tuple[Ids, Ids]]] = {}
    for pair in pairs:
        length = max(len(pair[0]), len(pair[1]) - 1)
        buckets.setdefault(-(-length // _STEP) * _STEP, []).append(pair)
    cut = []
    for length, members in buckets.items():
        rng.shuffle(members)
        count = max(1, batch_tokens // length)
        # Whole batches only: those left over come first in another epoch, and every shape is known.
        cut += [_batch(members[at : at + count], length) for at in range(0, len(members) - count + 1, count)]
    rng.shuffle(cut)
    return cut


def joined(pairs: list[tuple[Ids, Ids]], config: Config, rng: random.Random) -> list[tuple[Ids, Ids]]:
    """The pairs, some of them joined to longer ones: the sentences of the corpus are short, and others are not."""
    rng.shuffle(pairs)
    found, left = [], pairs[:]
    while len(left) > (1 - config.joined) * len(pairs):
        part = [left.pop() for _ in range(min(len(left), rng.randint(2, 6)))]
        while len(part) > 1 and sum(max(len(a), len(b)) for a, b in part) > config.longest:
            left.append(part.pop(0))
        sources, targets = zip(*part, strict=True)
        source = np.concatenate([sources[0][:1], *[one[1:-1] for one in sources], sources[0][-1:]])
        target = np.concatenate([targets[0][:2], *[one[2:-1] for one in targets], targets[0][-1:]])
        found.append((source, target))
    return found + left


def _batch(pairs: Sequence[tuple[Ids, Ids]], length: int) -> Batch:
    source = np.full((len(pairs), length), PAD, np.int16)
    target = np.full((len(pairs), length + 1), PAD, np.int16)
    for row, (one, other) in enumerate(pairs):
        source[row, : len(one)] = one
        target[row, : len(other)] = other
    return Batch(torch.from_numpy(source), torch.from_numpy(target))
