"""One call of a client: its headers, the time it has left, and when it is sent again. Knows no protocol."""

import math
import random
import time
from dataclasses import dataclass
from typing import TypedDict

from services.core.context import Priority, new_request_id
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import Method
from services.edges.endpoint import PRIORITY, REQUEST_ID, TIMEOUT


@dataclass(frozen=True)
class Retry:
    """When a call is sent again.

    Args:
        times: tries after the first.
        first: seconds before the second try, give or take a half; each further pause is twice as long.
        longest: the longest pause, unless the server asks for more.
    """

    times: int = 5
    first: float = 0.1
    longest: float = 5.0


_LONGEST = 86_400.0
"""Seconds; libraries below do not take any number."""

NEVER = Retry(times=0)


class CallOptions(TypedDict, total=False):
    """What may be said of one call."""

    timeout: float
    """Seconds the call may take, all its tries together; by default the client's."""
    priority: Priority
    """Who goes first when work waits."""
    request_id: str
    """By default a new one."""


def require(method: Method, request: Request) -> None:
    """Raise TypeError unless the method takes such a request."""
    if not isinstance(request, method.request):
        raise TypeError(f"{method.verb} takes a {method.request.__name__}, not a {type(request).__name__}")


class NeverBegunError(ConnectionError):
    """The cause of an UNAVAILABLE whose call cannot have reached a server: it may be sent again, whatever it does."""


class Call:
    """One call and its tries.

    Args:
        retry: when to try again.
        timeout: seconds, unless the options say.
        idempotent: whether answering twice does no harm.
        options: what was said of this call.
    """

    def __init__(self, retry: Retry, timeout: float, options: CallOptions, *, idempotent: bool) -> None:
        if unknown := options.keys() - CallOptions.__annotations__.keys():
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        seconds = options.get("timeout", timeout)
        if math.isnan(seconds):
            raise ValueError("timeout: give seconds")
        self._retry = retry
        self._deadline = time.monotonic() + min(seconds, _LONGEST)
        self._idempotent = idempotent
        self._failed = 0
        self._headers = {REQUEST_ID: options.get("request_id") or new_request_id()}
        if (priority := options.get("priority")) is not None:
            self._headers[PRIORITY] = priority.name.lower()

    def remaining(self) -> float:
        """Seconds left, never quite zero: protocols take that for no limit."""
        return max(0.001, self._deadline - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return time.monotonic() >= self._deadline

    def headers(self) -> dict[str, str]:
        """Of the next try; the names are those of HTTP headers and of gRPC metadata."""
        return {**self._headers, TIMEOUT: f"{self.remaining():.6f}"}

    def pause(self, error: ServingError) -> float:
        """Seconds until the next try.

        Raises:
            ServingError: the given one; another try would not help, might do harm, or would come too late.
        """
        harmless = self._idempotent or isinstance(error.__cause__, NeverBegunError)
        again = error.code is Code.OVERLOADED or (error.code is Code.UNAVAILABLE and harmless)
        pause: float = self._retry.first * 2.0 ** min(self._failed, 60) * random.uniform(0.5, 1.5)  # noqa: S311  # spread, not secret
        pause = max(min(self._retry.longest, pause), error.retry_after or 0.0)
        if not again or self._failed >= self._retry.times or pause >= self.remaining():
            raise error
        self._failed += 1
        return pause
