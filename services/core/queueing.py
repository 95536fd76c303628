"""What waits for a lane: items, the calls they belong to, and a queue that decides who may wait and whose turn it is.

No threads and no clocks of its own: the batcher guards a queue with its lock.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.errors import Code, ServingError

Run = Callable[[Sequence[Any]], Sequence[Any]]

_SMOOTHING = 0.1
"""Weight of the newest window in the speed."""

MARGIN = 1.5
"""A call must have so many times the time that its answer is expected to take: estimates err, and to be refused at
once is better than to miss the deadline."""


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work: what the engine gets, and what it costs (tokens, audio seconds, characters)."""

    payload: Any
    cost: int


class Pending(Enum):
    """Stands for a result that is not there yet."""

    PENDING = 0


PENDING = Pending.PENDING


class Ticket:
    """One call: its results as they arrive, and whether anyone still waits for them."""

    __slots__ = ("abandoned", "arrived", "cost", "deadline", "future", "items", "left", "results", "submitted")

    def __init__(self, count: int, deadline: float, submitted: float, future: "asyncio.Future[list[Any]]") -> None:
        self.future = future
        self.results: list[Any] = [PENDING] * count
        self.arrived: Callable[[], None] | None = None  # called when results have come, where someone waits for each
        self.left = count
        self.deadline = deadline
        self.abandoned = False
        self.submitted = submitted
        self.items = 0  # of its entries, those that wait in the queue, and their cost
        self.cost = 0

    def wanted(self, now: float) -> bool:
        """Whether an answer now would still reach someone."""
        return not self.abandoned and self.deadline > now


class Entry:
    """An item in a queue. Ordered by priority, then by turn, then by arrival."""

    __slots__ = ("index", "item", "order", "ticket")

    def __init__(self, item: Item, ticket: Ticket, index: int, order: tuple[int, float, int, int]) -> None:
        self.item = item
        self.ticket = ticket
        self.index = index
        self.order = order

    def __lt__(self, other: "Entry") -> bool:
        return self.order < other.order


@dataclass
class Queue:
    """What waits for one key. Guarded by the batcher's lock.

    Entries of abandoned tickets may stay in the heap for a while, uncounted: taking them out at once would cost a
    pass over the heap per cancelled call. They are swept out together, and the head is never one of them.
    """

    key: Hashable
    run: Run
    policy: BatchPolicy
    lanes: int
    heap: list[Entry] = field(default_factory=list)
    items: int = 0
    cost: int = 0
    running: int = 0  # cost of what lanes have taken and not finished
    running_items: int = 0  # and how many items that is
    callers: int = 0  # tickets with entries in the heap
    clock: float = 0.0  # work done for each caller who had some waiting; turns are given by it
    arrived: int = 0  # requests that ever came
    pushed: float = 0.0  # when the last one did
    last_turn: int = 0  # when a lane last took from this queue, in turns of the batcher
    speed: float = 0.0  # cost per second and lane, smoothed
    run_seconds: float = 0.0  # of a window, smoothed

    @property
    def seconds(self) -> float:
        """Until all that waits or runs is done, by the speed seen so far; 0 while none has been seen."""
        return self._time(self.items + self.running_items, self.cost + self.running)

    def _time(self, items: float, cost: float) -> float:
        """What so much work takes all lanes."""
        if self.policy.gather:  # few items take as long as many, so a speed seen with few says nothing of a long queue
            return self.run_seconds * math.ceil(items / (self.lanes * self.policy.group_items))
        return cost / (self.speed * self.lanes) if self.speed else 0.0

    @property
    def gather_seconds(self) -> float:
        """How long nothing more must have come before a lane takes little."""
        return self.policy.gather * self.run_seconds

    def wait(self, count: int = 1) -> float:
        """Seconds until the last item of a call of ``count``, come now, would be taken, but for the call's own work.

        By fair queueing an item waits for one item of each caller, not for all of a list.
        """
        items, turn = self.items, self.callers * count
        ahead = self.cost * turn / items if turn < items else self.cost
        return self._time(min(turn, items) + self.running_items, ahead + self.running)

    def refusal(self, count: int, cost: int, wait: float, remaining: float) -> ServingError | None:
        """Why a call does not fit, would ``wait`` too long, or could not be done in the ``remaining`` seconds it has.

        An empty queue takes any one request. Without the lock the figures may be of two moments, which is good enough
        for a look before any work is put into a request.
        """
        if not self.items:
            return None
        policy = self.policy
        if self.items + count > policy.queue_items or self.cost + cost > policy.queue_cost:
            why = "The queue is full"
        elif wait > policy.queue_seconds:
            why = "The queue is too long"
        elif self.speed and MARGIN * (wait + self._time(count, cost)) > remaining:
            why = "The answer would come after the deadline"
        else:
            return None
        # Until what waits is done, within reason.
        retry_after = min(60.0, max(1.0, self._time(self.items, self.cost)))
        return ServingError(Code.OVERLOADED, f"{why}; retry after the time given.", retry_after=retry_after)

    def push(self, items: Sequence[Item], cost: int, ticket: Ticket, priority: Priority) -> None:
        """Put a call's items, which cost ``cost`` together, in line."""
        # Fair queueing: an item's turn is the clock plus the work of its own call before it, and the clock runs as if
        # all callers were served side by side. So lists of a thousand texts do not stand in front of a single text
        # that comes later, and no crowd of single texts can starve a list.
        turn = self.clock
        self.arrived += 1
        for index, item in enumerate(items):
            heapq.heappush(self.heap, Entry(item, ticket, index, (priority, turn, index, self.arrived)))
            turn += item.cost
        self._count(ticket, len(items), cost)

    def take(self, count: int, cost: int) -> list[Entry]:
        """The next wanted entries: at most ``count``, and no more once they cost ``cost`` together."""
        window: list[Entry] = []
        heap, left = self.heap, cost
        while heap and len(window) < count and left > 0:
            entry = heapq.heappop(heap)
            work = entry.item.cost
            self.clock += work / self.callers
            self._count(entry.ticket, -1, -work)
            left -= work
            window.append(entry)
            if heap and heap[0].ticket.abandoned:
                self._clear_head()
        self.running += cost - left
        self.running_items += len(window)
        return window

    def ran(self, items: int, taken: int, done: int, seconds: float) -> None:
        """A lane has finished ``items`` that cost ``taken``, of which ``done`` was still wanted, in so many seconds."""
        self.running_items -= items
        self.running -= taken
        if done:
            speed = done / max(seconds, 1e-9)
            self.speed += _SMOOTHING * (speed - self.speed) if self.speed else speed
            self.run_seconds += _SMOOTHING * (seconds - self.run_seconds) if self.run_seconds else seconds

    def abandon(self, ticket: Ticket) -> None:
        """Forget a ticket's waiting entries."""
        ticket.abandoned = True
        self._count(ticket, -ticket.items, -ticket.cost)
        if len(self.heap) > 2 * self.items:
            self.heap = [entry for entry in self.heap if not entry.ticket.abandoned]
            heapq.heapify(self.heap)
        self._clear_head()

    def _count(self, ticket: Ticket, items: int, cost: int) -> None:
        before = ticket.items
        ticket.items = after = before + items
        if not before or not after:
            self.callers += (after > 0) - (before > 0)
        ticket.cost += cost
        self.items += items
        self.cost += cost

    def _clear_head(self) -> None:
        while self.heap and self.heap[0].ticket.abandoned:
            heapq.heappop(self.heap)
