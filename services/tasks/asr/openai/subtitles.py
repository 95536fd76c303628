"""Answers as plain text and as subtitles.

Sources: SubRip (.srt) as players read it; W3C WebVTT.
"""

from collections.abc import Iterator
from typing import NamedTuple

from services.tasks.asr.schema import Segment, TranscribeResponse, Word

_LETTERS = 80
"""Of a subtitle: two lines of 40."""

_SECONDS = 6.0
"""That a subtitle stands, unless its segment has no words to cut it at."""


class Cue(NamedTuple):
    """A subtitle and when it stands; times in seconds."""

    start: float
    end: float
    text: str


def plain(answer: TranscribeResponse) -> str:
    """A line for each segment."""
    return "".join(f"{segment.text}\n" for segment in answer.segments)


def srt(answer: TranscribeResponse) -> str:
    """SubRip."""
    cues = enumerate(cues_of(answer), 1)
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n" for number, cue in cues
    )


def vtt(answer: TranscribeResponse) -> str:
    """WebVTT."""
    cues = (f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n\n" for cue in cues_of(answer))
    return "WEBVTT\n\n" + "".join(cues)


def cues_of(answer: TranscribeResponse) -> Iterator[Cue]:
    """A subtitle for each segment; for those with words, as many as are easy to read."""
    for segment in answer.segments:
        if not segment.words:
            yield Cue(segment.start, segment.end, segment.text)
        for words in _lines(segment):
            yield Cue(words[0].start, words[-1].end, " ".join(word.text for word in words))


def _lines(segment: Segment) -> Iterator[list[Word]]:
    line: list[Word] = []
    letters = 0
    for word in segment.words:
        if line and (letters + len(word.text) > _LETTERS or word.end - line[0].start > _SECONDS):
            yield line
            line, letters = [], 0
        line.append(word)
        letters += len(word.text) + 1
    if line:
        yield line


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("-->", "--&gt;")
