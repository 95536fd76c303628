"""One timer for all calls that wait: each is told when its own deadline has passed, at most `STEP` later.

A timer per call costs more than handing the call's item to a lane. Here a call is put into a set and taken out again,
and the one timer is set for the earliest deadline it was told of. Lives on the event loop; no locks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

STEP = 0.005
"""Shortest time between two looks at the set, seconds: many deadlines close together cost one look."""

_LONGEST = 86_400.0
"""Longest wait a timer is set for, seconds; event loops refuse an infinite one."""


class Expiring(Protocol):
    """A call that waits until ``deadline``, in ``time.monotonic()``."""

    deadline: float


TicketT = TypeVar("TicketT", bound=Expiring)


class Deadlines(Generic[TicketT]):
    """Calls ``expire`` once for every ticket whose deadline passes while it is here."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[TicketT], None]) -> None:
        self._loop = loop
        self._expire = expire
        self._tickets: set[TicketT] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")  # when the timer fires

    def add(self, ticket: TicketT) -> None:
        """Watch a ticket."""
        self._tickets.add(ticket)
        if ticket.deadline < self._due:
            self._set(ticket.deadline, time.monotonic())

    def discard(self, ticket: TicketT) -> None:
        """Watch it no longer. The timer stays as it is: most calls end in time, and setting it is what costs."""
        self._tickets.discard(ticket)

    def _set(self, due: float, now: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(min(max(0.0, due - now), _LONGEST), self._look)

    def _look(self) -> None:
        now = time.monotonic()
        late = [ticket for ticket in self._tickets if ticket.deadline <= now]
        for ticket in late:
            self._tickets.discard(ticket)
            self._expire(ticket)
        self._timer, self._due = None, float("inf")
        if self._tickets:
            self._set(max(min(ticket.deadline for ticket in self._tickets), now + STEP), now)
