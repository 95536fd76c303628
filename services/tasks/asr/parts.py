"""Parts of a recording's answer, and all of them as one."""

from collections.abc import Sequence

from services.core.speech import Recognized
from services.tasks.asr.schema import AudioUsage, Segment, TranscribePart, TranscribeResponse
from services.tasks.asr.voice import Stretch
from services.tasks.asr.writing import Writer


class PartWriter:
    """Writes the parts of one answer, in order.

    Args:
        model: full id of the model.
        writer: writes segments.
    """

    def __init__(self, model: str, writer: Writer) -> None:
        self._model = model
        self._writer = writer
        self._segments = 0
        self._position = 0.0

    def stretch(self, found: Recognized, stretch: Stretch, total: float | None) -> TranscribePart:
        """What was said in a stretch."""
        segments = self._writer.segments(found, stretch, self._segments)
        self._segments += len(segments)
        tokens = sum(len(segment.tokens) for segment in segments)
        return self._part(stretch.end, total, segments, found.language, tokens)

    def quiet(self, position: float, total: float | None) -> TranscribePart:
        """Nothing, up to here."""
        return self._part(position, total)

    def end(self, position: float) -> TranscribePart:
        """All is done."""
        return self._part(position, position)

    def _part(
        self,
        position: float,
        total: float | None,
        segments: tuple[Segment, ...] = (),
        language: str = "",
        tokens: int = 0,
    ) -> TranscribePart:
        before, self._position = self._position, max(position, self._position)
        return TranscribePart(
            model=self._model,
            segments=segments,
            language=language if segments else "",
            position=round(self._position, 3),
            progress=round(min(1.0, self._position / total), 4) if total else None,
            usage=AudioUsage(tokens=tokens, seconds=self._position - before),
        )


def whole(parts: Sequence[TranscribePart]) -> TranscribeResponse:
    """Parts as one answer; there is at least one."""
    segments = tuple(segment for part in parts for segment in part.segments)
    duration = parts[-1].position
    return TranscribeResponse(
        model=parts[-1].model,
        text=" ".join(segment.text for segment in segments),
        language=_language(parts),
        duration=duration,
        segments=segments,
        usage=AudioUsage(tokens=sum(part.usage.tokens for part in parts), seconds=duration),
    )


def _language(parts: Sequence[TranscribePart]) -> str:
    """The one in which most was said."""
    said: dict[str, int] = {}
    for part in parts:
        letters = sum(len(segment.text) for segment in part.segments)
        said[part.language] = said.get(part.language, 0) + letters
    return max(said, key=lambda language: (said[language], language))
