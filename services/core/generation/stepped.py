"""A lane for an engine that is stepped: a thread of its own that steps while there is work.

    plan a step (`scheduler`) -> engine -> choose tokens (`sampling`) -> tell the calls

The thread owns the scheduler and the engine. Calls reach it through an inbox that it empties before each step, so a
call that is given up has its slot and its blocks back within one step. What a step brought goes to the event loop in
one piece.
"""

import asyncio
import threading
from collections.abc import Sequence as Items
from contextlib import suppress

from services.core.catalog import BatchPolicy
from services.core.generation.active import Active, Pace
from services.core.generation.lane import Lane
from services.core.generation.stepping import Stepper, Told

_LOADING_SECONDS = 0.005
"""Between two looks at adapters that are being loaded, when there is nothing else to do."""


class SteppedLane(Lane):
    """The thread of one `Stepper`, and its inbox."""

    def __init__(self, stepper: Stepper, policy: BatchPolicy, pace: Pace, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(policy, stepper.most, pace)
        self._stepper = stepper
        self._loop = loop
        self._wake = threading.Condition()
        self._inbox: list[tuple[Active, bool]] = []  # what joins (true) or leaves
        self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
        self._thread.start()
        self.native_id = self._thread.native_id

    @property
    def running(self) -> int:
        """Sequences in the steps."""
        return self._stepper.running

    @property
    def blocks(self) -> int:
        """Blocks held."""
        return self._stepper.blocks

    def close(self) -> None:
        """End the thread once all is done."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _begin(self, sequences: Items[Active]) -> None:
        self._post([(sequence, True) for sequence in sequences])

    def _give_up(self, sequences: Items[Active]) -> None:
        self._post([(sequence, False) for sequence in sequences])

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
