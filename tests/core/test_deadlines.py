"""One timer for many deadlines."""

import asyncio
import random
import time

from services.core.deadlines import STEP, Deadlines
from services.core.queueing import Ticket

SLACK = 0.05
"""What a busy machine may add."""


def ticket(seconds: float) -> Ticket:
    now = time.monotonic()
    return Ticket(1, now + seconds, now, asyncio.get_running_loop().create_future())


async def test_each_is_told_once_not_before_its_deadline_and_soon_after() -> None:
    told: dict[Ticket, float] = {}

    def expire(late: Ticket) -> None:
        assert late not in told
        told[late] = time.monotonic()

    deadlines, chance = Deadlines(asyncio.get_running_loop(), expire), random.Random(3)
    tickets = [ticket(chance.random() * 0.1) for _ in range(200)]
    for late in tickets:
        deadlines.add(late)
    await asyncio.sleep(0.1 + STEP + SLACK)
    assert len(told) == len(tickets)
    for late in tickets:
        assert 0 <= told[late] - late.deadline < STEP + SLACK


async def test_what_was_taken_out_is_never_told_and_a_nearer_deadline_is_not_late_for_a_farther_one() -> None:
    told: list[Ticket] = []
    deadlines = Deadlines(asyncio.get_running_loop(), told.append)
    far, gone, near = ticket(float("inf")), ticket(0.02), ticket(0.03)
    for one in (far, gone, near):
        deadlines.add(one)
    deadlines.discard(gone)
    await asyncio.sleep(0.03 + STEP + SLACK)
    assert told == [near]
    past = ticket(-1.0)
    deadlines.add(past)
    await asyncio.sleep(SLACK)
    assert told == [near, past]
