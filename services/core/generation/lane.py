"""Who may come in to one engine, and who is in; how their sequences are continued is each kind of lane's own.

Knows costs and deadlines; no steps, tokens or threads.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence as Items

from services.core.catalog import BatchPolicy
from services.core.errors import Code, ServingError, closing, too_late
from services.core.generation.active import Active, Pace


class Lane(ABC):
    """The sequences of one engine. On the event loop, but for `close`.

    Args:
        policy: how many may wait.
        most: sequences that the engine runs together.
        pace: how long they run.
    """

    native_id: int | None = None
    """Its thread, as the operating system knows it; None has none."""

    def __init__(self, policy: BatchPolicy, most: int, pace: Pace) -> None:
        self._policy = policy
        self._most = most
        self._pace = pace
        self._closing = False
        self._present: set[Active] = set()  # all that were let in and have not left

    @property
    def alive(self) -> bool:
        """Whether anything may still come in; false for ever once it is."""
        return not self._closing

    @property
    @abstractmethod
    def running(self) -> int:
        """Sequences in the steps."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """Blocks of the KV cache that they hold."""

    @abstractmethod
    def close(self) -> None:
        """Refuse new work and wait until all is done. Not on the event loop."""

    @abstractmethod
    def _begin(self, sequences: Items[Active]) -> None:
        """Continue these from now on."""

    @abstractmethod
    def _give_up(self, sequences: Items[Active]) -> None:
        """Continue these no more; they may have ended meanwhile."""

    def refusal(self, sequences: int, cost: int, deadline: float) -> ServingError | None:
        """Why so much more does not fit."""
        if not self.alive:
            return closing()
        if deadline <= time.monotonic():
            return too_late()
        if not (unfinished := self._unfinished):
            return None  # one that finds nobody is let in, whatever it costs
        waiting = len(unfinished) - self.running
        on_hand = sum(sequence.cost for sequence in unfinished)
        if waiting + sequences > self._policy.queue_items or on_hand + cost > self._policy.queue_cost:
            wait = min(60.0, max(1.0, self._pace.mean_seconds))
            return ServingError(Code.OVERLOADED, "The queue is full; retry after the time given.", retry_after=wait)
        return None

    def enter(self, sequences: Items[Active]) -> None:
        """Let them in."""
        self._present.update(sequences)
        self._begin(sequences)

    def leave(self, sequences: Items[Active]) -> None:
        """Nobody waits for them any more."""
        self._present.difference_update(sequences)
        if left := [sequence for sequence in sequences if not sequence.ended]:
            self._give_up(left)

    @property
    def waiting(self) -> int:
        """Sequences that are in no step yet."""
        return max(0, len(self._unfinished) - self.running)

    @property
    def seconds(self) -> float:
        """Until all is done."""
        return self._pace.mean_seconds * -(-len(self._unfinished) // self._most)

    def abort(self) -> None:
        """Fail all calls."""
        for sequence in self._present:
            sequence.call.fail(closing())

    @property
    def _unfinished(self) -> list[Active]:
        """Those whose callers may be slow to take what has come do not count."""
        # A list first: metrics are read on other threads.
        return [sequence for sequence in list(self._present) if not sequence.ended]
