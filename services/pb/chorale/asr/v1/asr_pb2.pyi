from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranscribeRequest(_message.Message):
    __slots__ = ("model", "audio", "format", "sample_rate", "channels", "language", "translate", "prompt", "temperature", "hot_words", "grammar", "keywords", "alternatives", "word_times", "style")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    HOT_WORDS_FIELD_NUMBER: _ClassVar[int]
    GRAMMAR_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMES_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    audio: bytes
    format: str
    sample_rate: int
    channels: int
    language: str
    translate: bool
    prompt: str
    temperature: float
    hot_words: _containers.RepeatedScalarFieldContainer[str]
    grammar: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    alternatives: int
    word_times: bool
    style: str
    def __init__(self, model: _Optional[str] = ..., audio: _Optional[bytes] = ..., format: _Optional[str] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., language: _Optional[str] = ..., translate: _Optional[bool] = ..., prompt: _Optional[str] = ..., temperature: _Optional[float] = ..., hot_words: _Optional[_Iterable[str]] = ..., grammar: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., alternatives: _Optional[int] = ..., word_times: _Optional[bool] = ..., style: _Optional[str] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("text", "start", "end", "probability")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    text: str
    start: float
    end: float
    probability: float
    def __init__(self, text: _Optional[str] = ..., start: _Optional[float] = ..., end: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class Alternative(_message.Message):
    __slots__ = ("text", "score")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("id", "start", "end", "text", "score", "words", "alternatives", "tokens", "no_speech", "compression_ratio", "temperature")
    ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NO_SPEECH_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_RATIO_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    id: int
    start: float
    end: float
    text: str
    score: float
    words: _containers.RepeatedCompositeFieldContainer[Word]
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    no_speech: float
    compression_ratio: float
    temperature: float
    def __init__(self, id: _Optional[int] = ..., start: _Optional[float] = ..., end: _Optional[float] = ..., text: _Optional[str] = ..., score: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping]]] = ..., tokens: _Optional[_Iterable[int]] = ..., no_speech: _Optional[float] = ..., compression_ratio: _Optional[float] = ..., temperature: _Optional[float] = ...) -> None: ...

class AudioUsage(_message.Message):
    __slots__ = ("tokens", "seconds")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    seconds: float
    def __init__(self, tokens: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("model", "usage", "text", "language", "duration", "segments")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    usage: AudioUsage
    text: str
    language: str
    duration: float
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    def __init__(self, model: _Optional[str] = ..., usage: _Optional[_Union[AudioUsage, _Mapping]] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., duration: _Optional[float] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ...) -> None: ...

class TranscribePart(_message.Message):
    __slots__ = ("model", "usage", "segments", "language", "position", "progress")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    model: str
    usage: AudioUsage
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    language: str
    position: float
    progress: float
    def __init__(self, model: _Optional[str] = ..., usage: _Optional[_Union[AudioUsage, _Mapping]] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., language: _Optional[str] = ..., position: _Optional[float] = ..., progress: _Optional[float] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("format", "sample_rate", "channels", "language", "translate", "prompt", "temperature", "hot_words", "grammar", "keywords", "alternatives", "word_times", "style", "interim_results", "endpoint_silence")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    HOT_WORDS_FIELD_NUMBER: _ClassVar[int]
    GRAMMAR_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMES_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_SILENCE_FIELD_NUMBER: _ClassVar[int]
    format: str
    sample_rate: int
    channels: int
    language: str
    translate: bool
    prompt: str
    temperature: float
    hot_words: _containers.RepeatedScalarFieldContainer[str]
    grammar: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    alternatives: int
    word_times: bool
    style: str
    interim_results: bool
    endpoint_silence: float
    def __init__(self, format: _Optional[str] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., language: _Optional[str] = ..., translate: _Optional[bool] = ..., prompt: _Optional[str] = ..., temperature: _Optional[float] = ..., hot_words: _Optional[_Iterable[str]] = ..., grammar: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., alternatives: _Optional[int] = ..., word_times: _Optional[bool] = ..., style: _Optional[str] = ..., interim_results: _Optional[bool] = ..., endpoint_silence: _Optional[float] = ...) -> None: ...

class StreamTranscribeRequest(_message.Message):
    __slots__ = ("model", "config", "audio")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    model: str
    config: StreamConfig
    audio: bytes
    def __init__(self, model: _Optional[str] = ..., config: _Optional[_Union[StreamConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class StreamTranscribeResponse(_message.Message):
    __slots__ = ("model", "usage", "segment", "is_final", "stability", "language", "position")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    model: str
    usage: AudioUsage
    segment: Segment
    is_final: bool
    stability: float
    language: str
    position: float
    def __init__(self, model: _Optional[str] = ..., usage: _Optional[_Union[AudioUsage, _Mapping]] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ..., is_final: _Optional[bool] = ..., stability: _Optional[float] = ..., language: _Optional[str] = ..., position: _Optional[float] = ...) -> None: ...
