"""Owns reading, splitting and augmenting the SST-2 and IMDB texts."""

import gzip
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """A text and the probability that it is positive."""

    text: str
    positive: float


@dataclass(frozen=True)
class Corpus:
    """Every split; the holdouts are never trained on, dev is only scored."""

    train: list[Example]
    holdout: list[Example]
    dev: list[Example]
    reviews: list[Example]
    reviews_holdout: list[Example]


def read_sst2(path: Path) -> list[Example]:
    """Read `text<TAB>0/1` lines."""
    rows = (line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8"))
    return [Example(text, float(label)) for text, label in rows]


def read_imdb(path: Path) -> list[Example]:
    """Read the reviews, each text once (the corpus has exact duplicates)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    labels = {re.sub(r"<br\s*/?>", " ", row["text"]): row["label"] == "pos" for row in rows}
    return [Example(text, float(positive)) for text, positive in labels.items()]


def split(items: list[Example], held: int, rng: random.Random) -> tuple[list[Example], list[Example]]:
    """Shuffle and split off `held` items; returns (rest, held out)."""
    shuffled = rng.sample(items, len(items))
    return shuffled[held:], shuffled[:held]


def load_corpus(folder: Path, sst2_share: float, imdb_held: int, seed: int, smoke: bool) -> Corpus:
    """Read and split everything; the seed fixes the holdouts."""
    rng = random.Random(seed)  # noqa: S311 - a seeded split is the point
    sst2 = read_sst2(folder / "sst2.train.tsv")
    train, holdout = split(sst2, int(len(sst2) * sst2_share), rng)
    reviews, reviews_holdout = split(read_imdb(folder / "imdb.train.jsonl.gz"), imdb_held, rng)
    dev = read_sst2(folder / "sst2.dev.tsv")
    if smoke:
        train, holdout, dev, reviews = train[:300], holdout[:100], dev[:100], reviews[:200]
    return Corpus(train, holdout, dev, reviews, reviews_holdout)


def detokenise(text: str) -> str:
    """Undo treebank spacing: "ca n't help it , folks" -> "can't help it, folks"."""
    text = text.replace("lrb ", "(").replace(" rrb", ")").replace("``", '"').replace("''", '"')
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    return re.sub(r" ([,.;:!?])", r"\1", text)


def vary(example: Example, rng: random.Random) -> Example:
    """Write an SST-2 sentence as people type: joined contractions, a full stop."""
    text = detokenise(example.text)
    end = "" if text.endswith((".", "!", "?")) else rng.choice(("", ".", ".", "!"))
    return Example(text + end, example.positive)


def strip_end(example: Example) -> Example:
    """Drop the closing punctuation, which SST-2 never has."""
    return Example(example.text.rstrip(" .!"), example.positive)


def sentences(review: str) -> list[str]:
    """Split a review at sentence-final punctuation."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+", review) if part.strip()]


def review_sentences(reviews: list[Example], words: tuple[int, int], count: int, rng: random.Random) -> list[Example]:
    """Sample single sentences of acceptable length, each with its review's label."""
    found = [
        Example(text, review.positive)
        for review in reviews
        for text in sentences(review.text)
        if words[0] <= len(text.split()) <= words[1]
    ]
    return rng.sample(found, min(count, len(found)))


def window(review: Example, words: tuple[int, int], rng: random.Random) -> Example:
    """Take whole sentences from a random place up to a random word budget."""
    parts = sentences(review.text)
    budget = rng.randint(*words)
    # Verdicts gather at both ends of a review: half of the windows start at one.
    start = rng.choice((0, max(0, len(parts) - 3), rng.randrange(len(parts)), rng.randrange(len(parts))))
    taken: list[str] = []
    for part in parts[start:]:
        taken.extend(part.split())
        if len(taken) >= budget:
            break
    return Example(" ".join(taken), review.positive)
