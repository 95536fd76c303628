"""A recording as HTML: its text, when it was said, how sure the model is of it, and subtitles to keep."""

import json
import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from services.tasks.asr import TranscribeResponse
from services.tasks.asr.openai.subtitles import srt, vtt
from services.tasks.asr.schema import Segment, Word

_TICKS = 4
"""Parts into which the times under the picture cut it."""

_SUBTITLES: Mapping[str, Callable[[TranscribeResponse], str]] = {"srt": srt, "vtt": vtt}


def show(_request: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """The text, a picture of who speaks when, the segments, and subtitles.

    Raises:
        ValueError: this is no such answer.
    """
    found = TranscribeResponse.model_validate_json(json.dumps(answer), extra="ignore")
    if not found.segments:
        return f'<section class="result"><p>Nobody speaks in these {found.duration:.1f} s.</p></section>'
    text = " ".join(_text(segment) for segment in found.segments)
    facts = escape(f"{found.language}, {found.duration:.1f} s; shaded: the darker, the less sure")
    return (
        f'<section class="result"><p class="transcript">{text}</p><p class="facts">{facts}</p>'
        f"{_timeline(found)}{_table(found)}<p>Subtitles: {_links(found)}</p></section>"
    )


def _text(segment: Segment) -> str:
    """Its words with their times to hover over, if there are any."""
    if not segment.words:
        return _shaded(segment.text, _probability(segment), _span(segment))
    return " ".join(_shaded(word.text, word.probability, _span(word)) for word in segment.words)


def _shaded(text: str, probability: float, span: str) -> str:
    title = f"{span}, {probability:.0%}"
    return f'<mark class="doubt" style="--weight:{_doubt(probability)}%" title="{title}">{escape(text)}</mark>'


def _timeline(found: TranscribeResponse) -> str:
    """Segments above, words below, over the seconds of the recording."""
    duration = max(found.duration, found.segments[-1].end, 0.001)
    bars = [_bar(segment, top=0.0) for segment in found.segments]
    bars += [_bar(word, top=0.55) for segment in found.segments for word in segment.words]
    ticks = "".join(f"<span>{_clock(duration * part / _TICKS)}</span>" for part in range(_TICKS + 1))
    label = f"{len(found.segments)} stretches of speech in {duration:.1f} seconds"
    return (
        f'<div class="timeline"><svg viewBox="0 0 {duration:.3f} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{"".join(bars)}</svg><div class="ticks" aria-hidden="true">{ticks}</div></div>'
    )


def _bar(what: Segment | Word, top: float) -> str:
    return (
        f'<rect x="{what.start:.3f}" y="{top}" width="{max(0.0, what.end - what.start):.3f}" height="0.45">'
        f"<title>{_span(what)}: {escape(what.text)}</title></rect>"
    )


def _table(found: TranscribeResponse) -> str:
    rows = "".join(map(_row, found.segments))
    head = '<tr><th scope="col">seconds</th><th scope="col">text</th><th scope="col">sure</th></tr>'
    return f'<div class="scroll segments"><table>{head}{rows}</table></div>'


def _row(segment: Segment) -> str:
    probability = _probability(segment)
    others = "".join(
        f"<li>{escape(other.text)} <small>{math.exp(min(0.0, other.score)):.0%}</small></li>"
        for other in segment.alternatives
    )
    return (
        f"<tr><td>{_span(segment)}</td><td>{escape(segment.text)}{f'<ul>{others}</ul>' if others else ''}</td>"
        f'<td class="doubt" style="--weight:{_doubt(probability)}%">{probability:.0%}</td></tr>'
    )


def _links(found: TranscribeResponse) -> str:
    """Files that are in the page itself."""
    return " ".join(
        f'<a download="recording.{name}" href="data:text/plain;charset=utf-8,{quote(write(found))}">{name}</a>'
        for name, write in _SUBTITLES.items()
    )


def _probability(segment: Segment) -> float:
    """Geometric mean of those of its tokens."""
    return math.exp(min(0.0, segment.score))


def _doubt(probability: float) -> int:
    """Per cent."""
    return round(100 * (1 - min(1.0, max(0.0, probability))))


def _span(what: Segment | Word) -> str:
    return f"{what.start:.2f} – {what.end:.2f}"


def _clock(seconds: float) -> str:
    """``1:02.5``."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}"
