"""A lane for an engine that plans its own steps: a task for each sequence hands on what the engine brings.

All on the event loop. What the engine does not tell is told by what it does: a sequence runs from its first token on,
and holds as many blocks as its tokens fill, were none of them shared.
"""

import asyncio
import logging
from collections.abc import Sequence as Items
from contextlib import aclosing
from functools import partial

from services.core.catalog import BatchPolicy
from services.core.engine import SelfScheduled
from services.core.errors import Code, ServingError, closing
from services.core.generation.active import Active, Pace
from services.core.generation.lane import Lane
from services.core.generation.records import Progress

log = logging.getLogger(__name__)


class RelayedLane(Lane):
    """The tasks of one engine."""

    def __init__(self, engine: SelfScheduled, policy: BatchPolicy, pace: Pace, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(policy, engine.limits.sequences, pace)
        self._engine = engine
        self._loop = loop
        self._block_tokens = engine.limits.block_tokens
        self._tasks: dict[Active, asyncio.Task[None]] = {}
        self._running: set[Active] = set()

    @property
    def alive(self) -> bool:
        """Whether the engine is, too."""
        return super().alive and self._engine.alive

    @property
    def running(self) -> int:
        """Sequences that have a token."""
        return len(self._running)

    @property
    def blocks(self) -> int:
        """Blocks that their tokens fill."""
        # A list first: metrics are read on other threads.
        return sum(-(-len(sequence.tokens) // self._block_tokens) for sequence in list(self._running))

    def close(self) -> None:
        """Wait until the tasks have ended."""
        self._closing = True
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()

    def _begin(self, sequences: Items[Active]) -> None:
        for sequence in sequences:
            task = self._tasks[sequence] = self._loop.create_task(self._relay(sequence))
            task.add_done_callback(partial(self._forget, sequence))

    def _give_up(self, sequences: Items[Active]) -> None:
        for sequence in sequences:
            self._end(sequence)
            if task := self._tasks.get(sequence):
                task.cancel()

    def _forget(self, sequence: Active, task: "asyncio.Task[None]") -> None:
        del self._tasks[sequence]
        if task.cancelled():  # if not by its caller, then since the loop ends
            self._fail(sequence, closing())

    async def _ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _relay(self, sequence: Active) -> None:
        """Hand on all that comes of one sequence; what fails is this one."""
        try:
            await self._read(sequence)
        except ServingError as error:
            self._fail(sequence, error)
        except Exception:  # the boundary to foreign code: engines, readers
            log.exception("a sequence failed")
            self._fail(sequence, ServingError(Code.INTERNAL, "The engine failed on this input."))

    async def _read(self, sequence: Active) -> None:
        coming = self._engine.generate(sequence.number, sequence.work, sequence.priority)
        async with aclosing(coming):
            async for progress in coming:
                self._hand_on(sequence, progress)
                if sequence.ended:
                    return
        raise ServingError(Code.INTERNAL, "The engine ended this answer before its time.")

    def _hand_on(self, sequence: Active, progress: Progress) -> None:
        if not sequence.joined:
            sequence.cached = progress.cached
            self._running.add(sequence)
            self._pace.joined(sequence)
        for token in progress.tokens:
            outputs = list(sequence.read(token))
            self._pace.came(sequence)
            for place, output in enumerate(outputs, 1):
                sequence.call.tell(sequence.index, output, last=sequence.over and place == len(outputs))
            if sequence.over:
                self._end(sequence)
                self._pace.ended(sequence)
                return

    def _fail(self, sequence: Active, error: ServingError) -> None:
        if not sequence.ended:
            self._end(sequence)
            sequence.call.fail(error)

    def _end(self, sequence: Active) -> None:
        sequence.ended = True
        self._running.discard(sequence)
