"""Requests and answers of speech recognition; fields are those of ``chorale.asr.v1``. All times are seconds."""

from typing import Annotated, Self, cast

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from services.core.audio import Pcm
from services.core.catalog import ModelSpec
from services.core.schema import Bytes, Record, Request, Response, Usage
from services.tasks.asr.options import Options, Sound
from services.tasks.asr.planning import suits

AUDIO: JsonDict = {"contentMediaType": "audio/*"}
"""What JSON Schema says of bytes that are a recording."""


def _not_empty(audio: bytes | memoryview) -> bytes | memoryview:
    if not len(audio):
        raise PydanticCustomError("missing", "Field required")  # protobuf cannot tell; JSON and forms shall not differ
    return audio


class TranscribeRequest(Options, Sound, Request):
    """A recording to be written down."""

    audio: Annotated[Bytes, AfterValidator(_not_empty)] = Field(
        description="The recording: wav, flac, ogg (opus, vorbis) or mp3, or raw samples.", json_schema_extra=AUDIO
    )

    def suits(self, spec: ModelSpec) -> bool:
        """Whether the model is able to do this."""
        return suits(self, spec)


class Word(Record):
    """A word and when it was said."""

    text: str = Field(description="With the punctuation that touches it.")
    start: float = Field(description="Seconds from the beginning of the recording.")
    end: float = Field(description="Seconds from the beginning of the recording.")
    probability: float = Field(description="How sure the model is of it, 0 to 1.")


class Alternative(Record):
    """Another text of an utterance."""

    text: str = Field(description="What may have been said.")
    score: float = Field(description="As that of the segment.")


class Segment(Record):
    """Something said without a long pause."""

    id: int = Field(description="Its number, from 0.")
    start: float = Field(description="Seconds from the beginning of the recording.")
    end: float = Field(description="Seconds from the beginning of the recording.")
    text: str = Field(description="What was said.")
    score: float = Field(description="Mean natural logarithm of its tokens' probabilities; 0 is sure.")
    words: tuple[Word, ...] = Field(default=(), description="If asked for.")
    alternatives: tuple[Alternative, ...] = Field(default=(), description="Other texts, best first, if asked for.")
    tokens: tuple[int, ...] = Field(default=(), description="Ids of its tokens, where the model has any.")
    no_speech: float = Field(default=0.0, description="Probability that nobody speaks, where the model tells.")
    compression_ratio: float = Field(default=1.0, description="Of its text; high where the model repeats itself.")
    temperature: float = Field(default=0.0, description="At which it was sampled.")


class AudioUsage(Usage):
    """What the request cost."""

    seconds: float = Field(default=0.0, description="Of sound.")

    @property
    def audio_seconds(self) -> float:
        """Of sound."""
        return self.seconds


class TranscribeResponse(Response):
    """What was said in a recording."""

    text: str = Field(description="All of it.")
    language: str = Field(description="Code of the language that is spoken.")
    duration: float = Field(description="Seconds of the recording.")
    segments: tuple[Segment, ...] = Field(default=(), description="In order of time.")
    usage: AudioUsage = Field(default=AudioUsage(), description="What the request cost.")


class TranscribePart(Response):
    """Some more of a recording, in order."""

    segments: tuple[Segment, ...] = Field(default=(), description="What was said; none in a quiet stretch.")
    language: str = Field(default="", description="Code of the language that is spoken; empty in a quiet stretch.")
    position: float = Field(description="Seconds of the recording that are done.")
    progress: float | None = Field(
        default=None, description="The same as a share of the whole, 0 to 1, where the file tells how long it is."
    )
    usage: AudioUsage = Field(default=AudioUsage(), description="What this part cost.")


class StreamConfig(Options, Sound):
    """What is to come in a live stream, and how it is to be recognised."""

    interim_results: bool = Field(default=False, description="Also send what seems to be said while it is being said.")
    endpoint_silence: float | None = Field(
        default=None, ge=0.1, le=5, description="Seconds of silence that end an utterance. Omitted: 0.5."
    )

    @model_validator(mode="after")
    def _raw(self) -> Self:
        if self.format == "auto":
            raise PydanticCustomError(
                "format", "format: a live stream is of raw samples; give s16le or f32le, and their sample_rate"
            )
        return self

    @property
    def raw(self) -> Pcm:
        """What the samples are."""
        return cast("Pcm", self.pcm)  # a stream is of no file


class StreamTranscribeRequest(Request):
    """First what is to come, then audio as it comes."""

    config: StreamConfig | None = Field(default=None, description="In the first message, and only there.")
    audio: Bytes = Field(default=b"", description="Some raw samples; cut anywhere.")

    def suits(self, spec: ModelSpec) -> bool:
        """Whether the model is able to do this."""
        return self.config is None or suits(self.config, spec)


class StreamTranscribeResponse(Response):
    """What is being said, or was: an utterance has any number of interim results, then a final one."""

    segment: Segment = Field(description="The utterance; interim ones have no words.")
    is_final: bool = Field(description="Whether it will not change any more.")
    stability: float = Field(description="How much of an interim result is likely to stay, 0 to 1; 1 if final.")
    language: str = Field(default="", description="Code of the language that is spoken.")
    position: float = Field(description="Seconds of sound that had been heard.")
    usage: AudioUsage = Field(default=AudioUsage(), description="What the utterance cost; with the final result.")
