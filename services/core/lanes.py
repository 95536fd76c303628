"""Lanes: threads that empty queues as fast as they can, one window of one queue at a time.

A lane that is free takes what waits, at once; while all lanes are busy, work gathers. (Where a run costs nearly the
same for one item as for many, a policy may have free lanes wait a moment: `BatchPolicy.gather`.) What a lane takes (a
window) is sorted by cost and run in small groups, since padding a short text to a long one's length is work for nothing
(`grouping`).

Knows engines' runs, queues and their policies. Does not know who waits for results, nor on what loop.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any, Protocol

from services.core.errors import Code, ServingError, too_late
from services.core.grouping import cut
from services.core.queueing import Entry, Queue, Run

log = logging.getLogger(__name__)

_MOST_GATHERED = 5
"""Times `Queue.gather_seconds` that a lane waits at most while more and more comes."""

_COST = attrgetter("item.cost")


class BatchObserver(Protocol):
    """Told what the lanes did; called on their threads."""

    def ran(self, key: Any, waits: Sequence[float], cost: int, padded_cost: int) -> None:
        """An engine run ended: how long its items had waited, and what it cost."""


Deliver = Callable[[Sequence[Entry], Sequence[Any]], None]
"""Takes a result or an error for every entry; called on a lane."""


class Lanes:
    """So many threads, and the queues they take from. ``lock`` guards the queues."""

    def __init__(self, count: int, deliver: Deliver, observer: BatchObserver | None) -> None:
        self._deliver = deliver
        self._observer = observer
        self.queues: dict[Hashable, Queue] = {}
        self.lock = threading.Condition()
        self.closing = False
        self._idle = 0
        self._turns = 0
        self._threads = [threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def native_ids(self) -> tuple[int, ...]:
        """Of the threads, as the operating system knows them."""
        return tuple(thread.native_id for thread in self._threads if thread.native_id)

    def wake(self, items: int) -> None:
        """So many more wait. Call with the lock held."""
        if self._idle:
            self.lock.notify(min(self._idle, items))

    def close(self) -> None:
        """Finish what waits, and end the threads."""
        with self.lock:
            self.closing = True
            self.lock.notify_all()
        for thread in self._threads:
            thread.join()

    # --- below: on the threads ---

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
        with self.lock:
            # All a lane does for its work is in this time, waiting for the interpreter and the lock included.
            queue.ran(len(window), cost, done, time.monotonic() - started)
        return True

    def _next_window(self) -> tuple[Queue, list[Entry]] | None:
        since: float | None = None  # when this lane first saw work that was worth waiting to become more
        with self.lock:
            while True:
                waiting = [queue for queue in self.queues.values() if queue.items]
                pause = None
                if waiting:
                    now = time.monotonic()
                    since = since or now
                    pauses = [self._pause(queue, since, now) for queue in waiting]
                    if (pause := min(pauses)) <= 0:
                        ready = [queue for queue, left in zip(waiting, pauses, strict=True) if left <= 0]
                        queue = ready[0] if len(ready) == 1 else min(ready, key=_turn)
                        return queue, self._take(queue)
                elif self.closing:
                    return None
                else:
                    since = None
                self._idle += 1
                self.lock.wait(pause)
                self._idle -= 1

    def _pause(self, queue: Queue, since: float, now: float) -> float:
        """Seconds that a lane leaves this queue for more to come; not positive: none."""
        gather = queue.gather_seconds
        if not gather or self.closing or queue.items >= queue.policy.group_items * (self._idle + 1) / 2:
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
        self._deliver(live, _run_safely(queue.run, live))
        cost = live[0].item.cost if len(live) == 1 else sum([entry.item.cost for entry in live])
        if self._observer:
            _report(self._observer, queue, live, started, cost)
        return cost


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


def _report(observer: BatchObserver, queue: Queue, ran: list[Entry], started: float, cost: int) -> None:
    waits = [started - entry.ticket.submitted for entry in ran]
    try:
        padded = len(ran) * ran[-1].item.cost  # sorted: the last is longest
        observer.ran(queue.key, waits, cost, padded)
    except Exception:  # a lane must outlive a meter that fails
        log.exception("the batch observer failed")
