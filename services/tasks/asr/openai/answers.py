"""OpenAI's shapes of transcriptions: what writers write, and what the documentation says of it.

Dictionaries of known fields, since they are written once and never read here. Names are those of openai-python.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other


class Duration(TypedDict):
    """What it cost: seconds of sound."""

    type: Literal["duration"]
    seconds: float


class TranscriptionWord(TypedDict):
    """A word, with times in seconds."""

    word: str
    start: float
    end: float


class TranscriptionSegment(TypedDict):
    """Something said without a long pause, with times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class Transcription(TypedDict):
    """What was said; all but `text` and `usage` only in `verbose_json`."""

    text: str
    usage: Duration
    task: NotRequired[Literal["transcribe", "translate"]]
    language: NotRequired[str]
    duration: NotRequired[float]
    segments: NotRequired[list[TranscriptionSegment]]
    words: NotRequired[list[TranscriptionWord]]


class TranscriptionEvent(TypedDict):
    """Some more of it: `delta` in ``transcript.text.delta``; a segment; at last all of the text."""

    type: Literal["transcript.text.delta", "transcript.text.segment", "transcript.text.done"]
    delta: NotRequired[str]
    segment_id: NotRequired[str]
    id: NotRequired[str]
    start: NotRequired[float]
    end: NotRequired[float]
    speaker: NotRequired[str]
    text: NotRequired[str]
    usage: NotRequired[Duration]
