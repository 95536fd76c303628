from services.pb.chorale.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranslateRequest(_message.Message):
    __slots__ = ("model", "text", "target", "source", "format", "preserve", "glossary", "beam_size", "alternatives", "max_tokens", "alignment")
    class GlossaryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PRESERVE_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: _containers.RepeatedScalarFieldContainer[str]
    target: str
    source: str
    format: str
    preserve: _containers.RepeatedScalarFieldContainer[str]
    glossary: _containers.ScalarMap[str, str]
    beam_size: int
    alternatives: int
    max_tokens: int
    alignment: bool
    def __init__(self, model: _Optional[str] = ..., text: _Optional[_Iterable[str]] = ..., target: _Optional[str] = ..., source: _Optional[str] = ..., format: _Optional[str] = ..., preserve: _Optional[_Iterable[str]] = ..., glossary: _Optional[_Mapping[str, str]] = ..., beam_size: _Optional[int] = ..., alternatives: _Optional[int] = ..., max_tokens: _Optional[int] = ..., alignment: _Optional[bool] = ...) -> None: ...

class Alternative(_message.Message):
    __slots__ = ("translation", "score")
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    translation: str
    score: float
    def __init__(self, translation: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class AlignedToken(_message.Message):
    __slots__ = ("token", "weights")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    token: str
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, token: _Optional[str] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Alignment(_message.Message):
    __slots__ = ("source", "target")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    source: _containers.RepeatedScalarFieldContainer[str]
    target: _containers.RepeatedCompositeFieldContainer[AlignedToken]
    def __init__(self, source: _Optional[_Iterable[str]] = ..., target: _Optional[_Iterable[_Union[AlignedToken, _Mapping]]] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("translation", "source", "target", "score", "alternatives", "flags", "alignment")
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    translation: str
    source: str
    target: str
    score: float
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    flags: _containers.RepeatedScalarFieldContainer[str]
    alignment: _containers.RepeatedCompositeFieldContainer[Alignment]
    def __init__(self, translation: _Optional[str] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., score: _Optional[float] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping]]] = ..., flags: _Optional[_Iterable[str]] = ..., alignment: _Optional[_Iterable[_Union[Alignment, _Mapping]]] = ...) -> None: ...

class TranslateResponse(_message.Message):
    __slots__ = ("model", "usage", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    usage: _common_pb2.Usage
    results: _containers.RepeatedCompositeFieldContainer[Translation]
    def __init__(self, model: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., results: _Optional[_Iterable[_Union[Translation, _Mapping]]] = ...) -> None: ...

class TranslatePart(_message.Message):
    __slots__ = ("model", "usage", "index", "result")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    model: str
    usage: _common_pb2.Usage
    index: int
    result: Translation
    def __init__(self, model: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., index: _Optional[int] = ..., result: _Optional[_Union[Translation, _Mapping]] = ...) -> None: ...
