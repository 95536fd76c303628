"""What a recogniser found in a stretch of speech -> segments of an answer, in the style that was asked for."""

from dataclasses import dataclass
from functools import partial

from services.core import speech
from services.core.speech import Recognized
from services.tasks.asr.options import Style
from services.tasks.asr.schema import Alternative, Segment, Word
from services.tasks.asr.text import spoken, written
from services.tasks.asr.voice import Stretch

_DIGITS = 3
"""Of seconds and probabilities."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes segments.

    Args:
        style: what of.
    """

    style: Style

    def segments(self, found: Recognized, stretch: Stretch, first: int) -> tuple[Segment, ...]:
        """Those of a stretch that say anything, numbered from ``first``."""
        said = [segment for segment in found.segments if segment.text]
        return tuple(self._segment(segment, found, stretch, first + number) for number, segment in enumerate(said))

    def _segment(self, segment: speech.Segment, found: Recognized, stretch: Stretch, number: int) -> Segment:
        alternatives = found.alternatives if len(found.segments) == 1 else ()
        write = partial(self._text, language=found.language)
        return Segment(
            id=number,
            start=_time(stretch.start + segment.start),
            end=_time(min(stretch.start + segment.end, stretch.end)),
            text=write(segment.text),
            score=round(segment.score, _DIGITS + 1),
            words=tuple(_word(word, stretch.start) for word in segment.words),
            alternatives=tuple(Alternative(text=write(one.text), score=one.score) for one in alternatives),
            tokens=segment.tokens,
            no_speech=round(segment.no_speech, _DIGITS),
            compression_ratio=round(segment.compression_ratio, _DIGITS),
            temperature=round(segment.temperature, _DIGITS),
        )

    def _text(self, text: str, language: str) -> str:
        if self.style == "spoken":
            return spoken(text, language)
        if self.style == "written":
            return written(text, language)
        return text


def _word(word: speech.Word, offset: float) -> Word:
    return Word(
        text=word.text,
        start=_time(offset + word.start),
        end=_time(offset + word.end),
        probability=round(word.probability, _DIGITS),
    )


def _time(seconds: float) -> float:
    return round(seconds, _DIGITS)
