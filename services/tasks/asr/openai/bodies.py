"""Bodies of ``/v1/audio/transcriptions`` and ``/v1/audio/translations``, in OpenAI's shape."""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.core.schema import Bytes, ModelId, Record
from services.tasks.asr.options import MAX_PROMPT, Phrases
from services.tasks.asr.schema import AUDIO, TranscribeRequest

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]


def _refused(value: Any) -> Any:
    if value:
        raise PydanticCustomError("not_served", "Leave it out; it is not served")
    return value


def _automatic(value: Any) -> Any:
    if value not in (None, "", "auto"):
        raise PydanticCustomError(
            "chunking_strategy", "Give auto, or leave it out; recordings are cut where nobody speaks"
        )
    return value


Refused = Annotated[Any, AfterValidator(_refused)]


class _Body(Record):
    file: Bytes = Field(description="The recording: wav, flac, ogg (opus, vorbis) or mp3.", json_schema_extra=AUDIO)
    model: ModelId = Field(default=None, description="Model id; see `GET /v1/models`. Omitted: the default model.")
    prompt: str = Field(
        default="", max_length=MAX_PROMPT, description="Text that comes before, for style and spelling."
    )
    response_format: ResponseFormat = Field(default="json", description="What the answer is.")
    temperature: float | None = Field(default=None, ge=0, le=1, description="Of sampling.")

    @property
    def request(self) -> TranscribeRequest:
        """The same for the task."""
        return TranscribeRequest(
            audio=self.file, model=self.model, prompt=self.prompt, temperature=self.temperature, **self._more
        )

    @property
    @abstractmethod
    def _more(self) -> dict[str, Any]:
        """Fields of the request that bodies of this kind say."""


class TranscriptionBody(_Body):
    """A recording to be written down in its own language, in OpenAI's shape."""

    language: str | None = Field(default=None, description="Code of the language that is spoken. Omitted: found.")
    timestamp_granularities: tuple[Granularity, ...] = Field(
        default=(), description="What of `verbose_json` has times; of `srt` and `vtt`, `word` makes short lines."
    )
    stream: bool = Field(default=False, description="Answer in parts, as server-sent events.")
    keywords: Phrases = Field(default=(), description="Words and phrases that are likely to be said.")
    chunking_strategy: Annotated[Any, AfterValidator(_automatic)] = Field(default=None, description="`auto`.")
    include: Refused = Field(default=None, description="Not served.")
    languages: Refused = Field(default=None, description="Not served; give one language, or none.")
    known_speaker_names: Refused = Field(default=None, description="Not served: speakers are not told apart.")
    known_speaker_references: Refused = Field(default=None, description="Not served: speakers are not told apart.")

    @property
    def _more(self) -> dict[str, Any]:
        return {
            "language": self.language,
            "hot_words": self.keywords,
            "word_times": "word" in self.timestamp_granularities,
        }


class TranslationBody(_Body):
    """A recording to be written down in English, in OpenAI's shape."""

    timestamp_granularities: tuple[Granularity, ...] = ()
    stream: Literal[False] = False

    @property
    def _more(self) -> dict[str, Any]:
        return {"translate": True}
