"""Answers of a live stream, written in order."""

from services.core.speech import Recognized
from services.tasks.asr.schema import AudioUsage, Segment, StreamTranscribeResponse
from services.tasks.asr.voice import Stretch
from services.tasks.asr.writing import Writer


class AnswerWriter:
    """Writes those of one stream.

    Args:
        model: full id of the model.
        writer: writes segments.
    """

    def __init__(self, model: str, writer: Writer) -> None:
        self._model = model
        self._writer = writer
        self._number = 0
        self._shown = ""  # the last interim text of the utterance under way
        self._position = 0.0  # of the last final result

    def interim(self, found: Recognized, stretch: Stretch, position: float) -> StreamTranscribeResponse | None:
        """What seems to be said; None if that is nothing, or nothing new."""
        segment = self._segment(found, stretch).model_copy(update={"words": (), "alternatives": ()})
        before, self._shown = self._shown, segment.text
        if not segment.text or segment.text == before:
            return None
        return StreamTranscribeResponse(
            model=self._model,
            segment=segment,
            is_final=False,
            stability=_stability(before, segment.text),
            language=found.language,
            position=round(position, 3),
        )

    def final(self, found: Recognized, stretch: Stretch, position: float) -> StreamTranscribeResponse | None:
        """What was said; None if that is nothing, and it was never said to be anything."""
        segment, shown = self._segment(found, stretch), self._shown
        if not segment.text and not shown:
            return None
        seconds, self._position = position - self._position, position
        self._number += 1
        self._shown = ""
        return StreamTranscribeResponse(
            model=self._model,
            segment=segment,
            is_final=True,
            stability=1.0,
            language=found.language,
            position=round(position, 3),
            usage=AudioUsage(tokens=len(segment.tokens), seconds=seconds),
        )

    def _segment(self, found: Recognized, stretch: Stretch) -> Segment:
        """All of an utterance as one."""
        segments = self._writer.segments(found, stretch, self._number)
        if len(segments) == 1:
            return segments[0]
        letters = sum(len(one.text) for one in segments) or 1
        return Segment(
            id=self._number,
            start=round(stretch.start, 3),
            end=round(stretch.end, 3),
            text=" ".join(one.text for one in segments),
            score=round(sum(one.score * len(one.text) for one in segments) / letters, 4),
            words=tuple(word for one in segments for word in one.words),
            tokens=tuple(token for one in segments for token in one.tokens),
        )


def _stability(before: str, now: str) -> float:
    """The share of the words that the result before had, too, from the first on."""
    words = now.split()
    same = 0
    for one, other in zip(before.split(), words, strict=False):
        if one != other:
            break
        same += 1
    return round(same / len(words), 3)
