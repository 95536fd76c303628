"""Who is told what was generated."""

from typing import Any, Protocol


class GenerationObserver(Protocol):
    """Called on generators' threads, where every microsecond delays all sequences."""

    def stepped(self, key: Any, sequences: int, tokens: int) -> None:
        """A step computes so many tokens of so many sequences."""

    def joined(self, key: Any, waited: float) -> None:
        """A sequence is in its first step, so many seconds after it was submitted."""

    def first(self, key: Any, seconds: float) -> None:
        """A sequence has its first token, so many seconds after it was submitted."""

    def next(self, key: Any, seconds: float) -> None:
        """A sequence has another token, so many seconds after the last one."""
