"""How fast an answer comes: its first token, then tokens per second. Knows nothing but its parts and the clock."""

import time
from collections.abc import Callable

from services.tasks.llm import GeneratePart


class Answer:
    """One answer while it comes.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.text = ""
        self._clock = clock
        self._asked = self._first = self._last = clock()
        self._tokens = self._at_first = 0
        self._model = self._end = ""

    def take(self, part: GeneratePart) -> None:
        """Some more of it."""
        self._last = self._clock()
        self._tokens += part.usage.completion_tokens
        if not self.text:
            self._first, self._at_first = self._last, self._tokens
        self.text += part.text
        self._model = part.model
        if part.finish_reason == "length":
            self._end = "; cut off at its limit"

    @property
    def facts(self) -> str:
        """Who answers, and how fast."""
        if not self._tokens:
            return ""
        then = self._tokens - self._at_first
        speed = f", then {then / (self._last - self._first):.0f} tokens/s" if self._last > self._first else ""
        noun = "token" if self._tokens == 1 else "tokens"
        waited = f"the first after {self._first - self._asked:.2f} s"
        return f"{self._model}: {self._tokens} {noun}, {waited}{speed}{self._end}"
