"""What a sequence is to become, and who reads its tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.core.adapters import Adapter

Row = NDArray[np.float32]
"""Logits of one next token: ``[vocabulary]``."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen. The defaults choose by the model's own probabilities.

    Args:
        temperature: logits are divided by it; 0 always takes the most probable token.
        top_k: only so many of the most probable; 0 is all.
        top_p: only the most probable that have this probability together.
        min_p: only those with this share of the most probable one's probability.
        repetition_penalty: divides positive logits, and multiplies negative ones, of tokens in prompt or output.
        presence_penalty: taken off the logits of tokens in the output.
        frequency_penalty: the same, as often as they occur.
        logit_bias: added to the logits of these tokens.
        seed: makes the choice repeatable; None does not.
        logprobs: how many alternatives each token is told with; None is no log-probabilities at all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One that was chosen.

    Args:
        id: in the vocabulary.
        logprob: natural logarithm of the model's own probability, before temperature and penalties; if asked for.
        top: the most probable tokens with theirs, best first, as many as asked for.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """What an engine that schedules itself says of a sequence.

    Args:
        tokens: that have come, in order; at least one.
        cached: how many tokens of the prompt were in its cache.
    """

    tokens: tuple[Token, ...]
    cached: int = 0


class Reader(Protocol):
    """Reads one sequence's tokens as they come, where its lane is, and says what its caller is told."""

    @property
    def finished(self) -> bool:
        """Whether what was read last ends the sequence."""

    def read(self, token: Token) -> Any | None:
        """What the caller is told now; None is nothing yet. With the last token, all that was held back."""

    def cut(self) -> Any:
        """What the caller is told when the sequence ends at its limit instead."""


class Constraint(Protocol):
    """Restricts what may come next, on the engine's thread. One per sequence."""

    def mask(self, logits: Row) -> None:
        """Set the logits of all that may not come next to minus infinity, in place."""

    def accept(self, token: int) -> None:
        """Take note of the token that came."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an output may be, in words: for engines that choose tokens by themselves, where no constraint can reach.

    Args:
        ends: ids at which its reader ends it.
        min_tokens: before so many, none of these comes.
        json_schema: what the output is JSON of, as llguidance reads it; None is any text.
    """

    ends: frozenset[int] = frozenset()
    min_tokens: int = 0
    json_schema: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A prompt to be continued.

    Args:
        prompt: ids, at least one.
        max_tokens: most that are generated; with the prompt no more than the model's context.
        sampling: how.
        reader: makes what reads the tokens, given how many tokens of the prompt were cached.
        constraint: makes what restricts them, if anything does.
        form: what the constraint and the reader do, in words.
        adapter: on which adapter of the model; None is the model itself.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams
    reader: Callable[[int], Reader]
    constraint: Callable[[], Constraint] | None = None
    form: Form = Form()
    adapter: Adapter | None = None
