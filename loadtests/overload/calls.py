"""What a client knows of a call, whatever its protocol: when it was due, when it ended, and how."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple, Protocol

DEADLINE = 2
"""Seconds each call is given, as the client tells the server."""


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    REFUSED = "refused"  # OVERLOADED, with a time to retry after
    EXPIRED = "expired"  # DEADLINE_EXCEEDED, or an answer that came too late
    WRONG = "wrong"  # anything else


class Ended(NamedTuple):
    """One call. Its time begins when it was due, not when the client came to send it."""

    due: float
    ended: float
    outcome: Outcome
    fault: str = ""


class Calls(Protocol):
    """Calls of one method."""

    def begin(self, ended: Callable[[float], None]) -> None:
        """Call ``ended`` with the time whenever a call has ended."""

    def ask(self, due: float) -> None:
        """Begin one; it may be held until `flush`."""

    def flush(self) -> None:
        """Send what is held."""

    def check(self) -> Iterator[Ended]:
        """All calls that have ended, judged only now so that the server has the CPU while it is measured."""

    def close(self) -> None:
        """Hang up."""


def judged(due: float, ended: float, outcome: Outcome, fault: str = "") -> Ended:
    """A right answer that came too late is none."""
    late = outcome is Outcome.OK and ended - due > DEADLINE
    return Ended(due, ended, Outcome.EXPIRED if late else outcome, fault)
