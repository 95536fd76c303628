"""Dynamic batching: a bounded queue per key, and lanes (threads) that empty the queues as fast as they can.

No delay is added. A lane that is free takes what waits, at once; while all lanes are busy, requests gather. (Where a
run costs nearly the same for one item as for many, a policy may have free lanes wait a moment: `BatchPolicy.gather`.)
What a lane takes (a window) is sorted by cost and run in small groups, since padding a short text to a long one's
length is work for nothing (`grouping`). Callers wait on the event loop; engines run on the lanes and never block it.

Knows items, costs, deadlines and priorities. Does not know texts, models, requests or protocols.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Protocol

from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.deadlines import Deadlines
from services.core.errors import Code, ServingError, closing, too_late
from services.core.grouping import cut
from services.core.queueing import PENDING, Entry, Item, Queue, Run, Ticket

log = logging.getLogger(__name__)

_MOST_GATHERED = 5
"""Times `Queue.gather_seconds` that a lane waits at most while more and more comes."""

_COST = attrgetter("item.cost")


class BatchObserver(Protocol):
    """Told what the batcher did; called on lane threads."""

    def ran(self, key: Any, waits: Sequence[float], cost: int, padded_cost: int) -> None:
        """An engine run ended: how long its items had waited, and what it cost."""


class Batcher:
    """Batches what is submitted from one event loop and runs it on ``lanes`` threads.

    Create it inside a running event loop. Register each key once, with the function that runs its batches.
    """

    def __init__(self, lanes: int, observer: BatchObserver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._queues: dict[Hashable, Queue] = {}
        self._deadlines: Deadlines[Ticket] = Deadlines(self._loop, _expire)
        self._wake = threading.Condition()
        self._idle = 0
        self._closing = False
        self._turns = 0
        self._threads = [threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True) for n in range(lanes)]
        for thread in self._threads:
            thread.start()

    def register(self, key: Hashable, run: Run, policy: BatchPolicy) -> None:
        """Let items of ``key`` be submitted; ``run`` maps a batch of payloads to as many results, on a lane."""
        with self._wake:
            self._queues[key] = Queue(key, run, policy, len(self._threads))

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
        with self._wake:
            if self._closing:
                raise closing()
            if queue.items and (error := queue.refusal(count, cost, self._wait(queue, count), deadline - now)):
                raise error
            queue.push(items, cost, ticket, priority)
            queue.pushed = now
            if self._idle:
                self._wake.notify(min(self._idle, count))
        self._deadlines.add(ticket)
        return ticket

    def _leave(self, queue: Queue, ticket: Ticket) -> None:
        """Nobody waits for this call any more."""
        self._deadlines.discard(ticket)
        if ticket.left:
            with self._wake:
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
        return tuple(thread.native_id for thread in self._threads if thread.native_id)

    @property
    def waiting(self) -> int:
        """Items in all queues."""
        with self._wake:
            return sum(queue.items for queue in self._queues.values())

    def depth(self, key: Hashable) -> int:
        """Items of one key that wait."""
        return self._queues[key].items

    @property
    def work_seconds(self) -> float:
        """Engine time on hand: until all that waits or runs is done, by the speed seen so far."""
        with self._wake:
            return sum(queue.seconds for queue in self._queues.values())

    def abort(self) -> None:
        """Fail every call that still waits: the time to drain is over. Call on the event loop."""
        with self._wake:
            tickets = {entry.ticket for queue in self._queues.values() for entry in queue.heap}
        for ticket in tickets:
            if not ticket.future.done():
                ticket.future.set_exception(closing())

    def close(self) -> None:
        """Refuse new work, finish what waits, and end the lanes."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    # --- below: on the lanes ---

    def _lane(self) -> None:
        while self._run_window():
            pass

    def _run_window(self) -> bool:
        # A call per window, so that a lane that waits for work holds nothing of the last one.
        taken = self._next_window()
        if taken is None:
            return False
        queue, window = taken
        started = time.monotonic()
        if len(window) == 1:
            cost = window[0].item.cost
            done = self._run_group(queue, window)
        else:
            cost = sum([entry.item.cost for entry in window])
            done = sum([self._run_group(queue, group) for group in cut(window, _COST, queue.policy)])
        with self._wake:
            # All a lane does for its work is in this time, waiting for the interpreter and the lock included.
            queue.ran(len(window), cost, done, time.monotonic() - started)
        return True

    def _next_window(self) -> tuple[Queue, list[Entry]] | None:
        since: float | None = None  # when this lane first saw work that was worth waiting to become more
        with self._wake:
            while True:
                waiting = [queue for queue in self._queues.values() if queue.items]
                pause = None
                if waiting:
                    now = time.monotonic()
                    since = since or now
                    pauses = [self._pause(queue, since, now) for queue in waiting]
                    if (pause := min(pauses)) <= 0:
                        ready = [queue for queue, left in zip(waiting, pauses, strict=True) if left <= 0]
                        queue = ready[0] if len(ready) == 1 else min(ready, key=_turn)
                        return queue, self._take(queue)
                elif self._closing:
                    return None
                else:
                    since = None
                self._idle += 1
                self._wake.wait(pause)
                self._idle -= 1

    def _pause(self, queue: Queue, since: float, now: float) -> float:
        """Seconds that a lane leaves this queue for more to come; not positive: none."""
        gather = queue.gather_seconds
        if not gather or self._closing or queue.items >= queue.policy.group_items * (self._idle + 1) / 2:
            return 0.0
        return min(queue.pushed + gather, since + _MOST_GATHERED * gather) - now

    def _take(self, queue: Queue) -> list[Entry]:
        self._turns += 1
        queue.last_turn = self._turns
        # A fair share for each lane: one lane must not sit idle beside one with a long window. Where few items take as
        # long as many, of all that is on hand: else one lane would run nearly all of it, and others crumbs.
        shared = queue.items + queue.running_items if queue.policy.gather else queue.items
        share = -(-shared // len(self._threads))
        return queue.take(min(share, queue.policy.window_items), queue.policy.window_cost)

    def _run_group(self, queue: Queue, group: list[Entry]) -> int:
        """Run what is still wanted; returns what it cost."""
        started = time.monotonic()
        live = [entry for entry in group if entry.ticket.wanted(started)]
        if not live:
            return 0
        results = _run_safely(queue.run, live)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_deliver, live, results)
        cost = live[0].item.cost if len(live) == 1 else sum([entry.item.cost for entry in live])
        if self._observer:
            self._report(self._observer, queue, live, started, cost)
        return cost

    def _report(self, observer: BatchObserver, queue: Queue, ran: list[Entry], started: float, cost: int) -> None:
        waits = [started - entry.ticket.submitted for entry in ran]
        try:
            padded = len(ran) * ran[-1].item.cost  # sorted: the last is longest
            observer.ran(queue.key, waits, cost, padded)
        except Exception:  # a lane must outlive a meter that fails
            log.exception("the batch observer failed")


def _turn(queue: Queue) -> tuple[int, int]:
    """Keys take turns, so that one key's long list does not stand in front of another key's text."""
    return queue.heap[0].order[0], queue.last_turn


def _run_safely(run: Run, entries: Sequence[Entry]) -> Sequence[Any]:
    """A result or an error for every entry. A batch that fails is run again one by one: only the culprit fails."""
    try:
        results = run([entry.item.payload for entry in entries])
        if len(results) != len(entries):
            raise RuntimeError(f"the engine answered {len(results)} of {len(entries)} items")
        return results
    except ServingError as error:
        failure = error
    except BaseException:  # the boundary to foreign code: a lane must outlive all an engine raises, Rust panics too
        log.exception("engine run of %d items failed", len(entries))
        failure = ServingError(Code.INTERNAL, "The engine failed on this input.")
    if len(entries) == 1:
        return [failure]
    # Runs one by one take time: what expires or is cancelled meanwhile is not run again.
    return [
        result
        for entry in entries
        for result in (_run_safely(run, [entry]) if entry.ticket.wanted(time.monotonic()) else [too_late()])
    ]


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
