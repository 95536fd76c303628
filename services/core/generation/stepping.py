"""One step after the other: plan, compute, choose a token for each sequence that is ready for one, read it.

Lives on one generator's thread; the few figures it shows may be read from others. What fails is the sequence that
fails, not its company.
"""

import logging
from collections.abc import Iterator
from collections.abc import Sequence as Items
from typing import Any, NamedTuple

from services.core.engine import Chunk, Generator
from services.core.errors import Code, ServingError
from services.core.generation.active import Active, Pace
from services.core.generation.records import Row
from services.core.generation.sampling import Sampler
from services.core.generation.scheduler import Scheduler

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """What a call is to be told of one of its sequences."""

    sequence: Active
    output: Any
    error: ServingError | None
    last: bool


class Stepper:
    """Steps one generator.

    Args:
        engine: the generator.
        step_tokens: most tokens in a step.
        pace: told what was done.
    """

    def __init__(self, engine: Generator, step_tokens: int, pace: Pace) -> None:
        self._engine = engine
        self._pace = pace
        self._vocabulary = engine.limits.vocabulary
        self._scheduler: Scheduler[Active] = Scheduler(engine.limits, step_tokens, engine.ready)
        self.most = engine.limits.sequences

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self._scheduler.busy

    @property
    def running(self) -> int:
        """Sequences in the steps."""
        return len(self._scheduler.running)

    @property
    def blocks(self) -> int:
        """Blocks of the cache that sequences hold."""
        return self._scheduler.pool.held

    def add(self, sequence: Active) -> None:
        """Let it join when there is room."""
        self._scheduler.add(sequence)

    def drop(self, sequence: Active) -> None:
        """Take it out and forget it."""
        self._scheduler.drop(sequence)
        self._engine.release(sequence.number)

    def step(self) -> list[Told] | None:
        """Make a step and say what came of it; None if nothing can be done before an adapter is loaded."""
        planned, failures = self._scheduler.plan()
        told = [self._failed(failure.sequence, failure.error) for failure in failures]
        if not planned:
            return told or None
        self._observe(planned)
        for (sequence, chunk), row in zip(planned, self._compute([chunk for _, chunk in planned]), strict=True):
            if isinstance(row, ServingError):
                told.append(self._failed(sequence, row))
                continue
            self._scheduler.advance(sequence, chunk)
            if row is not None:
                told += self._next(sequence, row)
        return told

    def _compute(self, chunks: Items[Chunk]) -> list[Row | ServingError | None]:
        """Logits for each chunk that ends. A step that fails is done again one by one: only the culprit fails."""
        try:
            rows = iter(self._engine.step(chunks))
            return [next(rows) if chunk.ends else None for chunk in chunks]
        except ServingError as error:
            failure = error
        except BaseException:  # the boundary to foreign code: the thread must outlive all an engine raises
            log.exception("step of %d sequences failed", len(chunks))
            failure = ServingError(Code.INTERNAL, "The engine failed on this input.")
        if len(chunks) == 1:
            return [failure]
        return [row for chunk in chunks for row in self._compute([chunk])]

    def _next(self, sequence: Active, row: Row) -> list[Told]:
        try:
            outputs = list(_read(sequence, row, self._vocabulary))
        except ServingError as error:
            return [self._failed(sequence, error)]
        except BaseException:  # readers and constraints call foreign code, too
            log.exception("reading a sequence failed")
            return [self._failed(sequence, ServingError(Code.INTERNAL, "The answer could not be read."))]
        self._pace.came(sequence)
        told = [Told(sequence, output, None, last=False) for output in outputs]
        if sequence.over:
            self.drop(sequence)
            self._pace.ended(sequence)
            told[-1] = told[-1]._replace(last=True)
        return told

    def _failed(self, sequence: Active, error: ServingError) -> Told:
        self.drop(sequence)
        return Told(sequence, None, error, last=True)

    def _observe(self, planned: Items[tuple[Active, Chunk]]) -> None:
        for sequence, _ in planned:
            self._pace.joined(sequence)
        self._pace.stepped(len(planned), sum(len(chunk.tokens) for _, chunk in planned))


def _read(sequence: Active, row: Row, vocabulary: int) -> Iterator[Any]:
    """Choose the next token and yield what its caller is told of it; always something with the last one."""
    work = sequence.work
    if sequence.sampler is None:
        sequence.sampler = Sampler(work.sampling, work.prompt, vocabulary)
        sequence.constraint = work.constraint() if work.constraint else None
    if sequence.constraint:
        sequence.constraint.mask(row)
    token = sequence.sampler.choose(row)
    if sequence.constraint:
        sequence.constraint.accept(token.id)
    yield from sequence.read(token)
