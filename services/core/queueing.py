"""What waits for a lane: items, the calls they belong to, and a bounded queue that decides whose turn it is.

No threads and no clocks of its own: the batcher guards a queue with its lock.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.core.catalog import BatchPolicy
from services.core.context import Priority
from services.core.errors import Code, ServingError

Run = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work: what the engine gets, and what it costs (tokens, audio seconds, characters)."""

    payload: Any
    cost: int


class Ticket:
    """One submit call: its results as they arrive, and whether anyone still waits for them."""

    __slots__ = ("abandoned", "cost", "deadline", "future", "items", "left", "results", "submitted")

    def __init__(self, count: int, deadline: float) -> None:
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.results: list[Any] = [None] * count
        self.left = count
        self.deadline = deadline
        self.abandoned = False
        self.submitted = time.monotonic()
        self.items = 0  # of its entries, those that wait in the queue, and their cost
        self.cost = 0

    def wanted(self) -> bool:
        """Whether an answer now would still reach someone."""
        return not self.abandoned and self.deadline > time.monotonic()


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
    heap: list[Entry] = field(default_factory=list)
    items: int = 0
    cost: int = 0
    running: int = 0  # cost of what lanes have taken and not finished
    callers: int = 0  # tickets with entries in the heap
    clock: float = 0.0  # work done for each caller who had some waiting; turns are given by it
    arrived: int = 0  # requests that ever came
    last_turn: int = 0  # when a lane last took from this queue, in turns of the batcher
    speed: float = 0.0  # cost per second and lane, smoothed

    def admit(self, items: Sequence[Item], retry_after: float) -> None:
        """Refuse what does not fit. An empty queue takes any one request."""
        cost = sum(item.cost for item in items)
        if self.items and (
            self.items + len(items) > self.policy.queue_items or self.cost + cost > self.policy.queue_cost
        ):
            raise ServingError(
                Code.OVERLOADED, "The queue is full; retry after the time given.", retry_after=retry_after
            )

    def push(self, items: Sequence[Item], ticket: Ticket, priority: Priority) -> None:
        """Put a call's items in line."""
        # Fair queueing: an item's turn is the clock plus the work of its own call before it, and the clock runs as if
        # all callers were served side by side. So lists of a thousand texts do not stand in front of a single text
        # that comes later, and no crowd of single texts can starve a list.
        turn = self.clock
        self.arrived += 1
        for index, item in enumerate(items):
            heapq.heappush(self.heap, Entry(item, ticket, index, (priority, turn, index, self.arrived)))
            turn += item.cost
        self._count(ticket, len(items), sum(item.cost for item in items))

    def take(self, count: int, cost: int) -> list[Entry]:
        """The next wanted entries: at most ``count``, and no more once they cost ``cost`` together."""
        window: list[Entry] = []
        while self.heap and len(window) < count and cost > 0:
            entry = heapq.heappop(self.heap)
            self.clock += entry.item.cost / self.callers
            self._count(entry.ticket, -1, -entry.item.cost)
            cost -= entry.item.cost
            self.running += entry.item.cost
            window.append(entry)
            self._clear_head()
        return window

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
        ticket.items += items
        self.callers += bool(ticket.items) - bool(before)
        ticket.cost += cost
        self.items += items
        self.cost += cost

    def _clear_head(self) -> None:
        while self.heap and self.heap[0].ticket.abandoned:
            heapq.heappop(self.heap)
