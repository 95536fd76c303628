"""Answers in OpenAI's shape: whole ones in each format, and the events of streamed ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from pydantic_core import to_json

from services.core.dialect import JSON
from services.core.schema import Response
from services.tasks.asr.openai.answers import Duration, Transcription, TranscriptionEvent
from services.tasks.asr.openai.answers import TranscriptionSegment as Fields
from services.tasks.asr.openai.bodies import ResponseFormat, TranscriptionBody, TranslationBody
from services.tasks.asr.openai.subtitles import plain, srt, vtt
from services.tasks.asr.schema import AudioUsage, Segment, TranscribePart, TranscribeResponse

_TEXTS: Mapping[ResponseFormat, Callable[[TranscribeResponse], str]] = {"text": plain, "srt": srt, "vtt": vtt}

_MEDIA: Mapping[ResponseFormat, str] = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


class TranscriptionWriter:
    """Writes the answer to one body."""

    def __init__(self, asked: TranscriptionBody | TranslationBody) -> None:
        self._asked = asked
        self._text = ""
        self._seconds = 0.0
        self.media = _MEDIA.get(asked.response_format, JSON)

    def whole(self, answers: Sequence[Response]) -> bytes:
        """The one answer there is, in the format that was asked for."""
        answer = cast("TranscribeResponse", answers[0])
        if write := _TEXTS.get(self._asked.response_format):
            return write(answer).encode()
        page: Transcription = {"text": answer.text, "usage": _duration(answer.usage)}
        if self._asked.response_format == "verbose_json":
            page.update(self._details(answer))
        return to_json(page)

    def part(self, part: Response) -> Iterable[bytes]:
        """Two events for each segment: the text that comes next, and the segment."""
        some = cast("TranscribePart", part)
        self._seconds += some.usage.seconds
        return [to_json(event) for segment in some.segments for event in self._events(segment)]

    def end(self) -> Iterable[bytes]:
        """All of the text."""
        done: TranscriptionEvent = {
            "type": "transcript.text.done",
            "text": self._text,
            "usage": _duration(AudioUsage(seconds=self._seconds)),
        }
        return (to_json(done),)

    def _details(self, answer: TranscribeResponse) -> Transcription:
        asked = self._asked
        details: Transcription = {
            "text": answer.text,
            "usage": _duration(answer.usage),
            "task": "translate" if isinstance(asked, TranslationBody) else "transcribe",
            "language": answer.language,
            "duration": answer.duration,
        }
        if "segment" in asked.timestamp_granularities or not asked.timestamp_granularities:
            details["segments"] = [_fields(segment) for segment in answer.segments]
        if "word" in asked.timestamp_granularities:
            details["words"] = [
                {"word": word.text, "start": word.start, "end": word.end}
                for segment in answer.segments
                for word in segment.words
            ]
        return details

    def _events(self, segment: Segment) -> tuple[TranscriptionEvent, TranscriptionEvent]:
        delta = f" {segment.text}" if self._text else segment.text
        self._text += delta
        number = f"seg_{segment.id}"
        return (
            {"type": "transcript.text.delta", "delta": delta, "segment_id": number},
            {
                "type": "transcript.text.segment",
                "id": number,
                "start": segment.start,
                "end": segment.end,
                "speaker": "",  # nobody tells speakers apart
                "text": segment.text,
            },
        )


def _duration(usage: AudioUsage) -> Duration:
    return {"type": "duration", "seconds": round(usage.seconds, 3)}


def _fields(segment: Segment) -> Fields:
    return {
        "id": segment.id,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.score,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech,
    }
