"""Continuous batching: a lane per language model, and the calls that wait for what it generates.

Knows no texts, requests or protocols, and of engines only which kind of lane they need.
"""

import asyncio
from collections.abc import AsyncGenerator, Hashable
from collections.abc import Sequence as Items
from contextlib import aclosing
from itertools import count
from typing import Any

from services.core.catalog import BatchPolicy, GenerationPolicy
from services.core.context import Priority
from services.core.deadlines import Deadlines
from services.core.engine import AnyGenerator, SelfScheduled
from services.core.errors import ServingError, too_late
from services.core.generation.active import Active, Pace
from services.core.generation.calls import Call
from services.core.generation.lane import Lane
from services.core.generation.observing import GenerationObserver
from services.core.generation.relayed import RelayedLane
from services.core.generation.stepped import SteppedLane
from services.core.generation.stepping import Stepper
from services.core.queueing import Item


class ContinuousBatcher:
    """Generates what is submitted from one event loop. Create it inside it, and register each key once."""

    def __init__(self, observer: GenerationObserver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._deadlines: Deadlines[Call] = Deadlines(self._loop, _expire)
        self._lanes: dict[Hashable, Lane] = {}
        self._numbers = count()

    def register(self, key: Hashable, engine: AnyGenerator, policy: BatchPolicy, generation: GenerationPolicy) -> None:
        """Let items of ``key`` be submitted, whose payloads are `Generation` records."""
        pace = Pace(key, self._observer)
        if isinstance(engine, SelfScheduled):
            self._lanes[key] = RelayedLane(engine, policy, pace, self._loop)
        else:
            self._lanes[key] = SteppedLane(Stepper(engine, generation.step_tokens, pace), policy, pace, self._loop)

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

    def alive(self, key: Hashable) -> bool:
        """Whether anything may still be submitted for a key; false for ever once it is."""
        return self._lanes[key].alive

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
        """Refuse new work, finish what is there, and end the lanes. Not on the event loop, which they may need."""
        for lane in self._lanes.values():
            lane.close()


def _expire(call: Call) -> None:
    call.fail(too_late())
