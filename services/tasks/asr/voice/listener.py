"""Samples -> stretches of speech, cut out, as they end. Any cutting of the samples gives the same stretches."""

from dataclasses import dataclass

from services.core.audio import SPEECH_RATE, Samples
from services.tasks.asr.voice.detector import FRAME, FRAME_SECONDS, Probabilities, VoiceDetector
from services.tasks.asr.voice.endpoints import Endpointing, Endpoints, Span
from services.tasks.asr.voice.tape import Tape


@dataclass(frozen=True, slots=True)
class Stretch:
    """Somebody speaking. Of one stream, those that begin at the same place and are as long are the same.

    Args:
        start: seconds from the beginning of the stream.
        samples: never empty.
    """

    start: float
    samples: Samples

    @property
    def end(self) -> float:
        """Seconds from the beginning of the stream."""
        return self.start + len(self.samples) / SPEECH_RATE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stretch) and (self.start, self.end) == (other.start, other.end)

    def __hash__(self) -> int:
        return hash((self.start, self.end))


def speech_of(samples: Samples, detector: VoiceDetector) -> tuple[float, float] | None:
    """Seconds at which somebody begins to speak and has ended; None if nobody does. Silence must follow the speech."""
    rule = Endpointing()
    listener = Listener(detector, rule)
    stretches = [*listener.feed(samples), *listener.flush()]
    if not stretches:
        return None
    start = stretches[0].start
    return start + min(rule.before, start), stretches[-1].end - rule.after


class Listener:
    """Listens to one stream, in memory that is bounded by the longest stretch."""

    def __init__(self, detector: VoiceDetector, endpointing: Endpointing) -> None:
        self._voice = detector.stream()
        self._endpoints = Endpoints(endpointing, FRAME_SECONDS)
        self._tape = Tape()

    @property
    def heard(self) -> float:
        """Seconds of sound."""
        return self._tape.end / SPEECH_RATE

    @property
    def known(self) -> float:
        """Seconds of which all stretches have ended."""
        start = self._endpoints.start
        return self.heard if start is None else start * FRAME_SECONDS

    def feed(self, samples: Samples) -> list[Stretch]:
        """The stretches that have ended with these samples."""
        self._tape.add(samples)
        return self._ended(self._voice.feed(samples))

    def flush(self) -> list[Stretch]:
        """The last ones: the stream is over."""
        ended = self._ended(self._voice.flush())
        last = self._endpoints.flush()
        return [*ended, self._stretch(last)] if last else ended

    def under_way(self) -> Stretch | None:
        """What is being said, as far as it was heard; None in silence."""
        start = self._endpoints.start
        if start is None or not self._endpoints.is_speech:
            return None
        return self._stretch(Span(start, -(-self._tape.end // FRAME)))

    def settled(self) -> Stretch | None:
        """What seems to be over: if nothing more is said in time, it ends as this."""
        start, end = self._endpoints.start, self._endpoints.settled
        return self._stretch(Span(start, end)) if start is not None and end is not None else None

    def _ended(self, probabilities: Probabilities) -> list[Stretch]:
        spans = (self._endpoints.feed(probability) for probability in probabilities.tolist())
        found = [self._stretch(span) for span in spans if span]
        self._tape.forget(self._endpoints.needed * FRAME)
        return found

    def _stretch(self, span: Span) -> Stretch:
        start = span.start * FRAME
        return Stretch(start / SPEECH_RATE, self._tape.copy(start, span.end * FRAME))
