"""The texts: passages of each, what is held out of them, and windows of token ids to learn from.

A passage is a speech of a play or a line of the readings. A document is a few neighbours, as they stand or as turns of
a conversation. Documents of all texts are shuffled and laid end to end; windows are cut from that.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from config import Config, Text
from tokenizers import Tokenizer
from torch import Tensor

START, END, USER, ASSISTANT = "<s>", "</s>", "<|user|>", "<|assistant|>"
JOINT: dict[Text, str] = {"plays": "\n\n", "prose": " "}
"""What stands between two passages."""


@dataclass(frozen=True)
class Split:
    """Blocks of neighbouring passages."""

    train: tuple[tuple[str, ...], ...]
    heldout: tuple[tuple[str, ...], ...]


def read_texts(data: Path, config: Config) -> dict[Text, Split]:
    """Both texts, each split alike.

    The lines of the recorded clips are left out altogether: a language model that has read them would flatter whatever
    speech recognition is scored on them.
    """
    plays = (data / "lm" / "tinyshakespeare.txt").read_text(encoding="utf-8").strip().split("\n\n")
    lines = (data / "speech" / "ljspeech_sentences.txt").read_text(encoding="utf-8").splitlines()
    clips = (data / "speech" / "ljspeech" / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    recorded = {line.split("\t")[1] for line in clips}
    prose = [line for line in lines if line not in recorded]
    return {"plays": _split(plays, config), "prose": _split(prose, config)}


def _split(passages: list[str], config: Config) -> Split:
    size, every = config.block_passages, config.heldout_every
    blocks = [tuple(passages[first : first + size]) for first in range(0, len(passages), size)]
    heldout = blocks[every - 1 :: every]
    train = [block for number, block in enumerate(blocks) if number % every != every - 1]
    return Split(tuple(train), tuple(heldout))


def documents(text: Text, split: Split, config: Config, rng: random.Random) -> list[str]:
    """The training blocks cut into documents, anew for each epoch."""
    return [
        _as_chat(part) if rng.random() < config.chat and len(part) > 1 else START + JOINT[text].join(part) + END
        for block in split.train
        for part in _parts(block, config.passages, rng)
    ]


def _parts(block: Sequence[str], sizes: Sequence[int], rng: random.Random) -> list[Sequence[str]]:
    parts, first = [], 0
    while first < len(block):
        size = rng.choice(sizes)
        parts.append(block[first : first + size])
        first += size
    return parts


def _as_chat(passages: Sequence[str]) -> str:
    """Passages as turns. A speech loses its speaker's name: in a conversation the turn says whose it is."""
    turns = [passage.partition(":\n")[2] or passage for passage in passages]
    turns = turns[: len(turns) // 2 * 2]  # the assistant has the last word
    return START + "".join((ASSISTANT if row % 2 else USER) + turn + END for row, turn in enumerate(turns))


def epoch(texts: dict[Text, Split], chosen: Sequence[Text], tokenizer: Tokenizer, config: Config, seed: int) -> Tensor:
    """Windows ``[n, context + 1]`` of one pass over the chosen texts, shuffled; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311
    written = [document for text in chosen for document in documents(text, texts[text], config, rng)]
    rng.shuffle(written)
    ids = [token for line in tokenizer.encode_batch(written) for token in line.ids]
    return windows(ids, config.network.context)


def windows(ids: Sequence[int], context: int) -> Tensor:
    """Rows of ``context`` tokens and the one after; what is left at the end is dropped."""
    rows = (len(ids) - 1) // context
    return torch.stack([torch.tensor(ids[row * context : (row + 1) * context + 1]) for row in range(rows)])


def heldout(text: Text, split: Split, tokenizer: Tokenizer) -> list[Tensor]:
    """Held-out blocks, each a document of its own."""
    written = [START + JOINT[text].join(block) + END for block in split.heldout]
    return [torch.tensor(line.ids) for line in tokenizer.encode_batch(written)]
