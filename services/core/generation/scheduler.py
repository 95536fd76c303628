"""Which tokens of which sequences the next step computes.

Every sequence that has its prompt behind it gets one token per step; what is left of the step's budget goes to
prompts, in chunks, first to those begun, then to those that wait. When the cache is full, the sequence that came last
gives its blocks back and waits again: what it has generated is then part of its prompt, and nothing is lost.
No threads, no clock, no logits.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.core.adapters import Adapter
from services.core.context import Priority
from services.core.engine import Chunk, GeneratorLimits
from services.core.errors import ServingError
from services.core.generation.blocks import BlockPool, Table
from services.core.generation.records import Generation


@dataclass(slots=True, eq=False)
class Sequence:
    """One that is being generated.

    Args:
        number: its own, never used again.
        work: what it is to become.
        priority: who goes first.
    """

    number: int
    work: Generation
    priority: Priority
    tokens: list[int] = field(init=False)
    """Prompt and output."""
    computed: int = field(init=False, default=0)
    """How many of them are in the cache."""
    cached: int = field(init=False, default=0)
    """How many of the prompt were there from the start."""
    table: Table | None = field(init=False, default=None)
    ended: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.tokens = list(self.work.prompt)

    def __lt__(self, other: "Sequence") -> bool:
        return (self.priority, self.number) < (other.priority, other.number)

    @property
    def generated(self) -> int:
        """Tokens of the output."""
        return len(self.tokens) - len(self.work.prompt)


SequenceT = TypeVar("SequenceT", bound=Sequence)


@dataclass(frozen=True, slots=True)
class Failure(Generic[SequenceT]):
    """A sequence that cannot be computed."""

    sequence: SequenceT
    error: ServingError


class Scheduler(Generic[SequenceT]):
    """Plans steps for one generator.

    Args:
        limits: of the generator.
        step_tokens: most tokens in a step, prompts and others together; running sequences always get their one.
        ready: whether an adapter is loaded; raises ServingError if it cannot be.
    """

    def __init__(self, limits: GeneratorLimits, step_tokens: int, ready: Callable[[Adapter], bool]) -> None:
        self.pool = BlockPool(limits.blocks, limits.block_tokens)
        self.running: list[SequenceT] = []
        self._most = limits.sequences
        self._step_tokens = step_tokens
        self._ready = ready
        self._waiting: list[SequenceT] = []

    @property
    def waiting(self) -> int:
        """Sequences that are in no step yet, or not any more."""
        return sum(not sequence.ended for sequence in self._waiting)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.running or self._waiting)

    def add(self, sequence: SequenceT) -> None:
        """Let it wait for its first step."""
        heapq.heappush(self._waiting, sequence)

    def drop(self, sequence: SequenceT) -> None:
        """Take it out, wherever it is, and its blocks back."""
        sequence.ended = True  # those that wait are swept out when their turn comes
        if sequence in self.running:
            self.running.remove(sequence)
        self._free(sequence)
        while self._waiting and self._waiting[0].ended:
            heapq.heappop(self._waiting)

    def plan(self) -> tuple[list[tuple[SequenceT, Chunk]], list[Failure[SequenceT]]]:
        """The next step, and those that can have none."""
        chunks = list(self._next_tokens())
        budget = self._step_tokens - len(chunks)
        for sequence in self.running:
            if budget > 0 and _in_prompt(sequence):
                chunks.append((sequence, _chunk(sequence, budget)))
                budget -= len(chunks[-1][1].tokens)
        failures: list[Failure[SequenceT]] = []
        loading: list[SequenceT] = []
        while budget > 0 and (joined := self._join(failures, loading)):
            chunks.append((joined, _chunk(joined, budget)))
            budget -= len(chunks[-1][1].tokens)
        for sequence in loading:
            self.add(sequence)
        return chunks, failures

    def advance(self, sequence: SequenceT, chunk: Chunk) -> None:
        """Note that this was computed."""
        sequence.computed = chunk.start + len(chunk.tokens)
        if sequence.table is not None:
            self.pool.remember(sequence.table, sequence.tokens, sequence.computed)

    def _next_tokens(self) -> Iterator[tuple[SequenceT, Chunk]]:
        for sequence in sorted(self.running):  # who gives way comes later in this order, and has no chunk yet
            if sequence.table is None or _in_prompt(sequence):
                continue  # it has just given way, or is still being read
            if self._make_room(sequence):
                yield sequence, _chunk(sequence, 1)

    def _make_room(self, sequence: SequenceT) -> bool:
        """Have room for its next token, if need be by taking what the latest comers hold."""
        while sequence.table is not None:
            if self.pool.grow(sequence.table, len(sequence.tokens)):
                return True
            last = max(self.running)
            self._free(last)
            self.running.remove(last)
            self.add(last)
        return False

    def _join(self, failures: list[Failure[SequenceT]], loading: list[SequenceT]) -> SequenceT | None:
        """Whose turn it is. Who waits for an adapter holds up nobody, who waits for blocks all behind."""
        while self._waiting and len(self.running) < self._most:
            sequence = heapq.heappop(self._waiting)
            if sequence.ended:
                continue
            try:
                if (adapter := sequence.work.adapter) and not self._ready(adapter):
                    loading.append(sequence)
                    continue
            except ServingError as error:
                failures.append(Failure(sequence, error))
                continue
            if self._begin(sequence):
                return sequence
            self.add(sequence)
            break
        return None

    def _begin(self, sequence: SequenceT) -> bool:
        """Give it blocks for its whole prompt, so that prompts never wait for each other half read."""
        adapter = sequence.work.adapter
        table = self.pool.open(sequence.tokens, adapter.digest if adapter else None)
        cached = len(table.blocks) * self.pool.block_tokens
        if not self.pool.grow(table, len(sequence.tokens)):
            self.pool.close(table)
            return False
        sequence.table = table
        sequence.computed = cached
        if not sequence.generated:
            sequence.cached = cached
        self.running.append(sequence)
        return True

    def _free(self, sequence: SequenceT) -> None:
        if sequence.table is not None:
            self.pool.close(sequence.table)
            sequence.table = None
            sequence.computed = 0


def _in_prompt(sequence: Sequence) -> bool:
    """Whether more than the newest token is left to compute."""
    return len(sequence.tokens) - sequence.computed > 1


def _chunk(sequence: Sequence, budget: int) -> Chunk:
    assert sequence.table is not None  # noqa: S101  # it runs
    start = sequence.computed
    end = min(len(sequence.tokens), start + budget)
    return Chunk(
        sequence=sequence.number,
        tokens=tuple(sequence.tokens[start:end]),
        start=start,
        blocks=sequence.table.blocks,
        adapter=sequence.work.adapter,
        ends=end == len(sequence.tokens),
    )
