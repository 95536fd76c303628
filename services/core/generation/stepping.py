"""One step after the other: plan, compute, choose a token for each sequence that is ready for one, read it.

Lives on one generator's thread; the few figures it shows may be read from others. What fails is the sequence that
fails, not its company.
"""

import logging
import time
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.core.engine import Chunk, Generator
from services.core.errors import Code, ServingError
from services.core.generation.calls import Call
from services.core.generation.observing import GenerationObserver
from services.core.generation.records import Constraint, Reader, Row
from services.core.generation.sampling import Sampler
from services.core.generation.scheduler import Scheduler, Sequence

log = logging.getLogger(__name__)

_SMOOTHING = 0.1
"""Weight of the sequence that ended last in `Stepper.mean_seconds`."""


@dataclass(slots=True, eq=False)
class Active(Sequence):
    """A sequence with all that makes tokens of logits and outputs of tokens.

    Args:
        call: who is told.
        index: which of the call's sequences it is.
        cost: what it counts for while it waits.
    """

    call: Call
    index: int
    cost: int
    sampler: Sampler | None = None
    reader: Reader | None = None
    constraint: Constraint | None = None
    joined: float = 0.0
    told: float = field(default=0.0)
    """When its last token came."""


class Told(NamedTuple):
    """What a call is to be told of one of its sequences."""

    sequence: Active
    output: Any
    error: ServingError | None
    last: bool


class Stepper:
    """Steps one generator.

    Args:
        key: what the observer is told.
        engine: the generator.
        step_tokens: most tokens in a step.
        observer: told what was done, if anyone wants to know.
    """

    def __init__(self, key: Any, engine: Generator, step_tokens: int, observer: GenerationObserver | None) -> None:
        self._key = key
        self._engine = engine
        self._observer = observer
        self._vocabulary = engine.limits.vocabulary
        self._scheduler: Scheduler[Active] = Scheduler(engine.limits, step_tokens, engine.ready)
        self.most = engine.limits.sequences
        self.mean_seconds = 0.0
        """How long sequences ran, smoothed."""

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
        self._time(sequence)
        told = [Told(sequence, output, None, last=False) for output in outputs]
        if _over(sequence):
            self._end(sequence)
            told[-1] = told[-1]._replace(last=True)
        return told

    def _failed(self, sequence: Active, error: ServingError) -> Told:
        self.drop(sequence)
        return Told(sequence, None, error, last=True)

    def _end(self, sequence: Active) -> None:
        self.drop(sequence)
        seconds = time.monotonic() - sequence.joined
        self.mean_seconds += _SMOOTHING * (seconds - self.mean_seconds) if self.mean_seconds else seconds

    def _observe(self, planned: Items[tuple[Active, Chunk]]) -> None:
        now = time.monotonic()
        for sequence, _ in planned:
            if not sequence.joined:
                sequence.joined = now
                if self._observer:
                    self._observer.joined(self._key, now - sequence.call.submitted)
        if self._observer:
            self._observer.stepped(self._key, len(planned), sum(len(chunk.tokens) for _, chunk in planned))

    def _time(self, sequence: Active) -> None:
        now = time.monotonic()
        if self._observer and sequence.told:
            self._observer.next(self._key, now - sequence.told)
        elif self._observer:
            self._observer.first(self._key, now - sequence.call.submitted)
        sequence.told = now


def _read(sequence: Active, row: Row, vocabulary: int) -> Iterator[Any]:
    """Choose the next token and yield what its caller is told of it; always something with the last one."""
    work = sequence.work
    if sequence.reader is None or sequence.sampler is None:
        sequence.reader = work.reader(sequence.cached)
        sequence.sampler = Sampler(work.sampling, work.prompt, vocabulary)
        sequence.constraint = work.constraint() if work.constraint else None
    if sequence.constraint:
        sequence.constraint.mask(row)
    token = sequence.sampler.choose(row)
    sequence.tokens.append(token.id)
    if sequence.constraint:
        sequence.constraint.accept(token.id)
    if (output := sequence.reader.read(token)) is not None:
        yield output
    if not sequence.reader.finished and sequence.generated >= work.max_tokens:
        yield sequence.reader.cut()


def _over(sequence: Active) -> bool:
    return sequence.generated >= sequence.work.max_tokens or (sequence.reader is not None and sequence.reader.finished)
