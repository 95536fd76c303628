"""Probabilities that somebody speaks -> where stretches of speech begin and end. Knows frames, no sound.

A stretch begins with a frame that is surely speech, and ends once nothing was for some time: two thresholds, so that
it does not end within a word. One that grows too long is cut where speech was least likely.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When stretches begin and end; times in seconds.

    Args:
        threshold: probability with which a stretch begins.
        keep: probability with which it goes on; lower.
        silence: that ends it.
        shortest: speech in a stretch; less is a click.
        before: sound before the first frame of speech that belongs to it.
        after: sound after the last; at most ``silence``.
        longest: a stretch; it is cut in its last part.
    """

    threshold: float = 0.5
    keep: float = 0.35
    silence: float = 0.5
    shortest: float = 0.1
    before: float = 0.3
    after: float = 0.2
    longest: float = 20.0


@dataclass(frozen=True, slots=True)
class Frames:
    """How many frames each time of an `Endpointing` is."""

    silence: int
    shortest: int
    before: int
    after: int
    longest: int

    @classmethod
    def of(cls, endpointing: Endpointing, frame_seconds: float) -> "Frames":
        """At least one each; the sound around a stretch is at most the silence, and that a quarter of the longest."""

        def frames(seconds: float) -> int:
            return max(1, round(seconds / frame_seconds))

        longest = max(4, int(endpointing.longest / frame_seconds))
        silence = min(frames(endpointing.silence), longest // 4)
        return cls(
            silence,
            frames(endpointing.shortest),
            min(silence, frames(endpointing.before)),
            min(silence, frames(endpointing.after)),
            longest,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech: from this frame up to that."""

    start: int
    end: int


class Endpoints:
    """Takes one probability after the other; stretches never overlap, and none is longer than the longest."""

    def __init__(self, endpointing: Endpointing, frame_seconds: float) -> None:
        self._rule = endpointing
        self._frames = Frames.of(endpointing, frame_seconds)
        self._heard = 0  # frames
        self._free = 0  # where the next stretch may begin at the earliest
        self._start: int | None = None
        self._last = 0  # after the last frame of speech
        self._speech = 0  # frames of it
        self._recent: deque[float] = deque(maxlen=self._frames.longest // 2)

    @property
    def start(self) -> int | None:
        """Where the stretch under way began; None in silence."""
        return self._start

    @property
    def is_speech(self) -> bool:
        """Whether what is under way has enough speech to be a stretch."""
        return self._start is not None and self._speech >= self._frames.shortest

    @property
    def settled(self) -> int | None:
        """Where the stretch under way would end, if it is quiet and all that belongs to it was heard."""
        end = self._last + self._frames.after
        return end if self.is_speech and end <= self._heard else None

    @property
    def needed(self) -> int:
        """The earliest frame that a stretch may still have."""
        return self._start if self._start is not None else max(self._free, self._heard - self._frames.before)

    def feed(self, probability: float) -> Span | None:
        """The stretch that this frame ends, if it does."""
        self._heard += 1
        self._recent.append(probability)
        if self._start is None:
            if probability >= self._rule.threshold:
                self._begin(max(self._free, self._heard - 1 - self._frames.before))
            return None
        if probability >= self._rule.keep:
            self._last = self._heard
            self._speech += probability >= self._rule.threshold
        if self._heard - self._last >= self._frames.silence:
            return self._end(self._last + self._frames.after)
        if self._heard - self._start >= self._frames.longest:
            return self._cut()
        return None

    def flush(self) -> Span | None:
        """The stretch that the end of the sound ends."""
        return self._end(min(self._heard, self._last + self._frames.after)) if self._start is not None else None

    def _begin(self, start: int) -> None:
        self._start, self._last, self._speech = start, self._heard, 1

    def _end(self, end: int) -> Span | None:
        start, self._start, self._free = self._start, None, end
        self._recent.clear()
        return Span(start, end) if start is not None and self._speech >= self._frames.shortest else None

    def _cut(self) -> Span | None:
        """End it where speech was least likely of late, and begin the next there."""
        recent = list(self._recent)
        quietest = min(range(len(recent)), key=lambda index: (recent[index], -index))
        at = self._heard - len(recent) + quietest + 1
        rest, last = recent[quietest + 1 :], self._last
        span = self._end(at)
        if last > at:
            self._begin(at)
            self._last, self._speech = last, sum(one >= self._rule.threshold for one in rest)
            self._recent.extend(rest)
        return span
