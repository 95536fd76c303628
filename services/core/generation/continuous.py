"""Continuous batching: a thread per generator that steps while there is work, and the calls that wait for it.

    plan a step (`scheduler`) -> engine -> choose tokens (`sampling`) -> tell the calls

The thread owns the scheduler and the engine. Calls reach it through an inbox that it empties before each step, so a
call that is given up has its slot and its blocks back within one step. What a step brought goes to the event loop in
one piece. Knows no texts, requests or protocols.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Hashable
from collections.abc import Sequence as Items
from contextlib import aclosing, suppress
from itertools import count
from typing import Any

from services.core.catalog import BatchPolicy, GenerationPolicy
from services.core.context import Priority
from services.core.deadlines import Deadlines
from services.core.engine import Generator
from services.core.errors import Code, ServingError, closing, too_late
from services.core.generation.calls import Call
from services.core.generation.observing import GenerationObserver
from services.core.generation.stepping import Active, Stepper, Told
from services.core.queueing import Item

_LOADING_SECONDS = 0.005
"""Between two looks at adapters that are being loaded, when there is nothing else to do."""


class ContinuousBatcher:
    """Generates what is submitted from one event loop. Create it inside it, and register each key once."""

    def __init__(self, observer: GenerationObserver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._deadlines: Deadlines[Call] = Deadlines(self._loop, _expire)
        self._lanes: dict[Hashable, _Lane] = {}
        self._numbers = count()

    def register(self, key: Hashable, engine: Generator, policy: BatchPolicy, generation: GenerationPolicy) -> None:
        """Let items of ``key`` be submitted, whose payloads are `Generation` records."""
        stepper = Stepper(key, engine, generation.step_tokens, self._observer)
        self._lanes[key] = _Lane(stepper, policy, self._loop)

    def refusal(self, key: Hashable, deadline: float) -> ServingError | None:
        """What `submit` would raise now for a single item."""
        return self._lanes[key].refusal(1, 0, deadline)

    async def submit(
        self, key: Hashable, items: Items[Item], deadline: float, priority: Priority = Priority.NORMAL
    ) -> list[list[Any]]:
        """All that each of the items' readers had to say, in order; arguments and errors as for `stream`."""
        outputs: list[list[Any]] = [[] for _ in items]
        async with aclosing(self.stream(key, items, deadline, priority)) as told:
            async for index, output in told:
                outputs[index].append(output)
        return outputs

    async def stream(
        self, key: Hashable, items: Items[Item], deadline: float, priority: Priority = Priority.NORMAL
    ) -> AsyncGenerator[tuple[int, Any]]:
        """What the items' readers say, as they say it, with the index of the item. Close it to stop generating.

        Args:
            key: a registered key.
            items: what to generate, at least one.
            deadline: ``time.monotonic()`` after which generating stops.
            priority: who goes first.

        Raises:
            ServingError: OVERLOADED at once when the queue is full; DEADLINE_EXCEEDED, UNAVAILABLE while closing, or
                what failed.
        """
        lane = self._lanes[key]
        if error := lane.refusal(len(items), sum(item.cost for item in items), deadline):
            raise error
        call = Call(len(items), deadline)
        sequences = [
            Active(next(self._numbers), item.payload, priority, call, index, item.cost)
            for index, item in enumerate(items)
        ]
        lane.enter(sequences)
        self._deadlines.add(call)
        try:
            async with aclosing(call.outputs()) as outputs:
                async for output in outputs:
                    yield output
        finally:
            self._deadlines.discard(call)
            lane.leave(sequences)

    @property
    def lanes(self) -> tuple[int, ...]:
        """Ids of the generators' threads, as the operating system knows them."""
        return tuple(lane.native_id for lane in self._lanes.values() if lane.native_id)

    @property
    def waiting(self) -> int:
        """Sequences that are in no step yet."""
        return sum(lane.waiting for lane in self._lanes.values())

    def depth(self, key: Hashable) -> int:
        """Sequences of one key that are in no step yet."""
        return self._lanes[key].waiting

    def running(self, key: Hashable) -> int:
        """Sequences of one key that are in the steps."""
        return self._lanes[key].running

    def blocks(self, key: Hashable) -> int:
        """Blocks of the KV cache that sequences of one key hold."""
        return self._lanes[key].blocks

    @property
    def work_seconds(self) -> float:
        """Time until all that waits or runs is done, by what sequences took so far."""
        return sum(lane.seconds for lane in self._lanes.values())

    def abort(self) -> None:
        """Fail what is not done: the time to drain is over. Call on the event loop."""
        for lane in self._lanes.values():
            lane.abort()

    def close(self) -> None:
        """Refuse new work, finish what is there, and end the threads."""
        for lane in self._lanes.values():
            lane.close()


class _Lane:
    """The thread of one generator, its inbox, and what may wait for it."""

    def __init__(self, stepper: Stepper, policy: BatchPolicy, loop: asyncio.AbstractEventLoop) -> None:
        self._stepper = stepper
        self._policy = policy
        self._loop = loop
        self._wake = threading.Condition()
        self._inbox: list[tuple[Active, bool]] = []  # what joins (true) or leaves
        self._closing = False
        self._present: set[Active] = set()  # on the event loop: all that were let in and have not left
        self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
        self._thread.start()
        self.native_id = self._thread.native_id

    def refusal(self, sequences: int, cost: int, deadline: float) -> ServingError | None:
        """Why so much more does not fit."""
        if self._closing:
            return closing()
        if deadline <= time.monotonic():
            return too_late()
        if not (unfinished := self._unfinished):
            return None  # one that finds nobody is let in, whatever it costs
        waiting = len(unfinished) - self.running
        on_hand = sum(sequence.cost for sequence in unfinished)
        if waiting + sequences > self._policy.queue_items or on_hand + cost > self._policy.queue_cost:
            wait = min(60.0, max(1.0, self._stepper.mean_seconds))
            return ServingError(Code.OVERLOADED, "The queue is full; retry after the time given.", retry_after=wait)
        return None

    def enter(self, sequences: Items[Active]) -> None:
        """Let them in."""
        self._present.update(sequences)
        self._post([(sequence, True) for sequence in sequences])

    def leave(self, sequences: Items[Active]) -> None:
        """Nobody waits for them any more."""
        self._present.difference_update(sequences)
        if left := [(sequence, False) for sequence in sequences if not sequence.ended]:
            self._post(left)

    @property
    def running(self) -> int:
        """Sequences in the steps."""
        return self._stepper.running

    @property
    def waiting(self) -> int:
        """Sequences that are in no step yet."""
        return max(0, len(self._unfinished) - self.running)

    @property
    def _unfinished(self) -> list[Active]:
        """Those whose callers may be slow to take what has come do not count."""
        return [sequence for sequence in self._present if not sequence.ended]

    @property
    def blocks(self) -> int:
        """Blocks held."""
        return self._stepper.blocks

    @property
    def seconds(self) -> float:
        """Until all is done."""
        return self._stepper.mean_seconds * -(-len(self._unfinished) // self._stepper.most)

    def abort(self) -> None:
        """Fail all calls."""
        for sequence in self._present:
            sequence.call.fail(closing())

    def close(self) -> None:
        """End the thread once all is done."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _post(self, messages: list[tuple[Active, bool]]) -> None:
        with self._wake:
            self._inbox += messages
            self._wake.notify()

    # --- below: on the thread ---

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:  # by an error of ours, too: then nobody is left to answer, and callers must not wait
            self._closing = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.abort)

    def _turn(self) -> bool:
        with self._wake:
            while not (self._inbox or self._stepper.busy):
                if self._closing:
                    return False
                self._wake.wait()
            inbox, self._inbox = self._inbox, []
        for sequence, joins in inbox:
            if joins:
                self._stepper.add(sequence)
            else:
                self._stepper.drop(sequence)
        told = self._stepper.step()
        if told is None:
            with self._wake:
                if not self._inbox:
                    self._wake.wait(_LOADING_SECONDS)
        elif told:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_tell, told)
        return True


def _tell(told: Items[Told]) -> None:
    """Hand a step's news to the calls; on the event loop."""
    for sequence, output, error, last in told:
        if error is not None:
            sequence.call.fail(error)
        else:
            sequence.call.tell(sequence.index, output, last=last)


def _expire(call: Call) -> None:
    call.fail(too_late())
