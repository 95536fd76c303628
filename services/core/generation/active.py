"""A sequence on its way to its caller: who is told, what it has become, and how long that took."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.core.generation.calls import Call
from services.core.generation.observing import GenerationObserver
from services.core.generation.records import Constraint, Reader, Token
from services.core.generation.sampling import Sampler
from services.core.generation.scheduler import Sequence

_SMOOTHING = 0.1
"""Weight of the sequence that ended last in `Pace.mean_seconds`."""


@dataclass(slots=True, eq=False)
class Active(Sequence):
    """A sequence with all that makes outputs of its tokens.

    Args:
        call: who is told.
        index: which of the call's sequences it is.
        cost: what it counts for while it waits.
    """

    call: Call
    index: int
    cost: int
    reader: Reader | None = None
    sampler: Sampler | None = None
    """This and the constraint: where tokens are chosen here, and not by the engine."""
    constraint: Constraint | None = None
    joined: float = 0.0
    """When it was first in a step."""
    told: float = 0.0
    """When its last token came."""

    def read(self, token: Token) -> Iterator[Any]:
        """What its caller is told of the token that came; always something with the last one."""
        if self.reader is None:
            self.reader = self.work.reader(self.cached)
        self.tokens.append(token.id)
        if (output := self.reader.read(token)) is not None:
            yield output
        if not self.reader.finished and self.generated >= self.work.max_tokens:
            yield self.reader.cut()

    @property
    def over(self) -> bool:
        """Whether its last token has come."""
        return self.generated >= self.work.max_tokens or (self.reader is not None and self.reader.finished)


class Pace:
    """How long the sequences of one engine wait and run.

    Args:
        key: what the observer is told.
        observer: told what was done, if anyone wants to know.
    """

    def __init__(self, key: Any, observer: GenerationObserver | None) -> None:
        self._key = key
        self._observer = observer
        self.mean_seconds = 0.0
        """How long sequences ran, smoothed."""

    def stepped(self, sequences: int, tokens: int) -> None:
        """A step computes so many tokens."""
        if self._observer:
            self._observer.stepped(self._key, sequences, tokens)

    def joined(self, sequence: Active) -> None:
        """It is in a step."""
        if not sequence.joined:
            sequence.joined = time.monotonic()
            if self._observer:
                self._observer.joined(self._key, sequence.joined - sequence.call.submitted)

    def came(self, sequence: Active) -> None:
        """It has another token."""
        now = time.monotonic()
        if self._observer and sequence.told:
            self._observer.next(self._key, now - sequence.told)
        elif self._observer:
            self._observer.first(self._key, now - sequence.call.submitted)
        sequence.told = now

    def ended(self, sequence: Active) -> None:
        """It has its last one."""
        seconds = time.monotonic() - sequence.joined
        self.mean_seconds += _SMOOTHING * (seconds - self.mean_seconds) if self.mean_seconds else seconds
