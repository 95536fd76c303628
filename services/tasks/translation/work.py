"""What one sentence is on its way: work before the model, an output after it. Knows no model and no request."""

from dataclasses import dataclass
from enum import StrEnum

from services.core.engine import Decoding, Seq2SeqInput
from services.tasks.translation.languages import Pair
from services.tasks.translation.schema import Alignment
from services.tasks.translation.text import Sentence


class Flag(StrEnum):
    """What a caller should know of a translation; described in the schema."""

    REPETITION = "repetition"
    LENGTH = "length"
    PIECES = "pieces"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Task:
    """What the model is to do.

    Args:
        sentence: what is translated.
        input: the sentence as the model takes it.
        pair: from which language to which.
        decoding: how its translation is searched for.
        max_tokens: what the caller sets as most tokens of a translation.
    """

    sentence: Sentence
    input: Seq2SeqInput
    pair: Pair
    decoding: Decoding
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A sentence of a text and what stands around it; without a task, only that.

    Args:
        text: which text of the request it is of.
        pair: from which language to which.
        before: what stands between the sentence before it and this one.
        after: what stands after the text's last sentence.
        task: what the model is to do.
    """

    text: int
    pair: Pair
    before: str
    task: Task | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One translation of a sentence, and the mean logarithm of its tokens' probabilities."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Output:
    """What became of a task: translations, best first, and how many tokens the best has."""

    found: tuple[Found, ...]
    tokens: int
    flags: frozenset[Flag] = frozenset()
    alignment: Alignment | None = None


NOTHING = Output((Found("", 0.0),), 0)
"""Of work without a task."""
