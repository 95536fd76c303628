"""Dynamic batching: calls wait on the event loop, in a bounded queue per key, while `lanes` run what they ask for.

No delay is added, and engines never block the loop. Knows items, costs, deadlines and priorities. Does not know texts,
models, requests or protocols.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import suppress
from typing import Any

from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.deadlines import Deadlines
from services.core.errors import ServingError, closing, too_late
from services.core.lanes import BatchObserver, Lanes
from services.core.queueing import PENDING, Entry, Item, Queue, Run, Ticket


class Batcher:
    """Batches what is submitted from one event loop and runs it on ``lanes`` threads.

    Create it inside a running event loop. Register each key once, with the function that runs its batches.
    """

    def __init__(self, lanes: int, observer: BatchObserver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes = Lanes(lanes, self._delivered, observer)
        self._queues = self._lanes.queues
        self._deadlines: Deadlines[Ticket] = Deadlines(self._loop, _expire)

    def register(self, key: Hashable, run: Run, policy: BatchPolicy) -> None:
        """Let items of ``key`` be submitted; ``run`` maps a batch of payloads to as many results, on a lane."""
        with self._lanes.lock:
            self._queues[key] = Queue(key, run, policy, len(self._lanes))

    def refusal(self, key: Hashable, deadline: float) -> ServingError | None:
        """What `submit` would raise now for a single item: a look without a lock, before work is put into it."""
        queue = self._queues[key]
        return queue.refusal(1, 0, self._wait(queue, 1), deadline - time.monotonic()) if queue.items else None

    async def submit(
        self,
        key: Hashable,
        items: Sequence[Item],
        deadline: float,
        priority: Priority = Priority.NORMAL,
    ) -> list[Any]:
        """The results of ``items``, in order.

        Cancelling the call takes what still waits out of the queue.

        Args:
            key: a registered key.
            items: what to run; may be empty.
            deadline: ``time.monotonic()`` after which the work is dropped.
            priority: who goes first.

        Raises:
            ServingError: OVERLOADED at once when the queue is full or too long, or the deadline too near;
                DEADLINE_EXCEEDED, UNAVAILABLE while closing, or what the engine raised (INTERNAL if it was no
                ServingError).
        """
        if not items:
            return []
        queue = self._queues[key]
        ticket = self._enqueue(queue, items, deadline, priority)
        try:
            return await ticket.future
        finally:
            self._leave(queue, ticket)

    async def stream(
        self,
        key: Hashable,
        items: Sequence[Item],
        deadline: float,
        priority: Priority = Priority.NORMAL,
    ) -> AsyncGenerator[tuple[int, Any]]:
        """As `submit`, but each result, with its index, as soon as it and all before it are there.

        Close it to take what still waits out of the queue. It raises what `submit` raises, after the results before
        the one that failed.
        """
        if not items:
            return
        queue = self._queues[key]
        ticket = self._enqueue(queue, items, deadline, priority)
        news = asyncio.Event()

        def ended(future: "asyncio.Future[list[Any]]") -> None:
            if not future.cancelled():
                future.exception()  # seen here, so that nobody complains where it is not awaited
            news.set()

        ticket.arrived = news.set
        ticket.future.add_done_callback(ended)
        try:
            for index in range(len(items)):
                while ticket.results[index] is PENDING and not ticket.future.done():
                    news.clear()
                    await news.wait()
                if (found := ticket.results[index]) is PENDING:
                    ticket.future.result()  # raises: it is done, and not with results
                if isinstance(found, ServingError):
                    raise found
                yield index, found
        finally:
            self._leave(queue, ticket)

    def _enqueue(self, queue: Queue, items: Sequence[Item], deadline: float, priority: Priority) -> Ticket:
        count = len(items)
        cost = items[0].cost if count == 1 else sum([item.cost for item in items])
        now = time.monotonic()
        ticket = Ticket(count, deadline, now, self._loop.create_future())
        with self._lanes.lock:
            if self._lanes.closing:
                raise closing()
            if queue.items and (error := queue.refusal(count, cost, self._wait(queue, count), deadline - now)):
                raise error
            queue.push(items, cost, ticket, priority)
            queue.pushed = now
            self._lanes.wake(count)
        self._deadlines.add(ticket)
        return ticket

    def _leave(self, queue: Queue, ticket: Ticket) -> None:
        """Nobody waits for this call any more."""
        self._deadlines.discard(ticket)
        if ticket.left:
            with self._lanes.lock:
                queue.abandon(ticket)

    def _wait(self, queue: Queue, count: int) -> float:
        """Seconds a call of ``count`` items would wait: keys take turns, so each other one's work counts up to ours."""
        wait = queue.wait(count)
        if len(self._queues) > 1:
            wait += sum([min(wait, other.seconds) for other in self._queues.values() if other is not queue])
        return wait

    @property
    def lanes(self) -> tuple[int, ...]:
        """Ids of the lanes' threads, as the operating system knows them."""
        return self._lanes.native_ids

    @property
    def waiting(self) -> int:
        """Items in all queues."""
        with self._lanes.lock:
            return sum(queue.items for queue in self._queues.values())

    def depth(self, key: Hashable) -> int:
        """Items of one key that wait."""
        return self._queues[key].items

    @property
    def work_seconds(self) -> float:
        """Engine time on hand: until all that waits or runs is done, by the speed seen so far."""
        with self._lanes.lock:
            return sum(queue.seconds for queue in self._queues.values())

    def abort(self) -> None:
        """Fail every call that still waits: the time to drain is over. Call on the event loop."""
        with self._lanes.lock:
            tickets = {entry.ticket for queue in self._queues.values() for entry in queue.heap}
        for ticket in tickets:
            if not ticket.future.done():
                ticket.future.set_exception(closing())

    def close(self) -> None:
        """Refuse new work, finish what waits, and end the lanes."""
        self._lanes.close()

    def _delivered(self, entries: Sequence[Entry], results: Sequence[Any]) -> None:
        """On a lane."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_deliver, entries, results)


def _expire(ticket: Ticket) -> None:
    if not ticket.future.done():
        ticket.future.set_exception(too_late())


def _deliver(entries: Sequence[Entry], results: Sequence[Any]) -> None:
    """Hand results to their tickets; on the event loop, so that tickets need no lock."""
    for entry, result in zip(entries, results, strict=True):
        ticket = entry.ticket
        if ticket.future.done():
            continue
        if (
            isinstance(result, ServingError) and not ticket.arrived
        ):  # who takes one after the other meets it in its turn
            ticket.future.set_exception(result)
            continue
        ticket.results[entry.index] = result
        ticket.left -= 1
        if not ticket.left:
            ticket.future.set_result(ticket.results)
        elif ticket.arrived:
            ticket.arrived()
