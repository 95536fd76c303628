"""What is known of a call besides its request: id, deadline, priority and protocol."""

import random
import time
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Who goes first when work waits; lower runs earlier."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call.

    Args:
        request_id: echoed to the client and written in logs.
        protocol: ``rest``, ``grpc`` or ``local``.
        deadline: ``time.monotonic()`` by which the answer must be there. Meaningful in one process only;
            send `remaining` seconds to another.
        priority: place in the queue.
    """

    request_id: str
    protocol: str
    deadline: float
    priority: Priority = Priority.NORMAL

    def remaining(self) -> float:
        """Seconds left; not positive once expired."""
        return self.deadline - time.monotonic()


def new_request_id() -> str:
    """A fresh id for a call whose client gave none."""
    # Unique, not secret: uuid4 would ask the kernel for randomness, at ten times the cost.
    return f"{random.getrandbits(128):032x}"
