"""How speech is to be recognised and written: the fields that a file and a live stream share."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.core.audio import Encoding, Pcm
from services.core.schema import Record
from services.core.speech import Recognition

MAX_PHRASES = 200
MAX_PHRASE = 100
MAX_PROMPT = 2_000
MAX_GRAMMAR = 4_096
MAX_ALTERNATIVES = 10


def _or_default(default: str) -> BeforeValidator:
    # protobuf cannot tell empty from absent; JSON shall not differ
    return BeforeValidator(lambda value: default if value == "" else value)


def _not_too_many(value: Any) -> Any:
    # Before the per-item checks, so that a list of a million phrases is refused without reading them.
    if isinstance(value, list | tuple) and len(value) > MAX_PHRASES:
        raise PydanticCustomError(
            "too_many", "Give at most {limit} phrases; these are {count}", {"limit": MAX_PHRASES, "count": len(value)}
        )
    return tuple(value) if isinstance(value, list) else value


def _phrase(phrase: str) -> str:
    if not phrase.strip() or len(phrase) > MAX_PHRASE or not phrase.isprintable():
        raise PydanticCustomError(
            "phrase", "Give a phrase of 1 to {limit} characters on one line", {"limit": MAX_PHRASE}
        )
    return " ".join(phrase.split())


def _language(code: str | None) -> str | None:
    if not code or code == "auto":
        return None
    primary = code.replace("_", "-").partition("-")[0].lower()
    if not (2 <= len(primary) <= 3 and primary.isascii() and primary.isalpha() and len(code) <= 35):
        raise PydanticCustomError("language", "Give a language code such as en, de or pt-BR; see GET /v1/models")
    return primary


Phrases = Annotated[tuple[Annotated[str, AfterValidator(_phrase)], ...], BeforeValidator(_not_too_many)]
Style = Literal["model", "spoken", "written"]
Format = Literal["auto", "s16le", "f32le"]


class Options(Record):
    """How speech is to be recognised and written."""

    language: Annotated[str | None, AfterValidator(_language)] = Field(
        default=None, description="Code of the language that is spoken, such as `en`. Omitted: found by the model."
    )
    translate: bool = Field(default=False, description="Write it in English, whatever is spoken.")
    prompt: str = Field(
        default="", max_length=MAX_PROMPT, description="Text that comes before, whose style and spelling are kept."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of sampling. Omitted: the model tries 0 first, and more where that fails.",
    )
    hot_words: Phrases = Field(default=(), description="Words and phrases that are likely to be said.")
    grammar: str = Field(
        default="", max_length=MAX_GRAMMAR, description="JSGF grammar of all that can be said, for commands."
    )
    keywords: Phrases = Field(default=(), description="Phrases to listen for; nothing else is written.")
    alternatives: int = Field(
        default=0, ge=0, lt=MAX_ALTERNATIVES, description="How many other texts to give of each utterance."
    )
    word_times: bool = Field(default=False, description="Give the words with their times.")
    style: Annotated[Style, _or_default("model")] = Field(
        default="model",
        description="`model`: as the model writes. `spoken`: words in lower case, numbers too, no punctuation."
        " `written`: figures, and capitals and full stops where the model writes none.",
    )

    @model_validator(mode="after")
    def _one_way_to_listen(self) -> Self:
        if self.grammar and (self.keywords or self.hot_words):
            raise PydanticCustomError("grammar", "Give a grammar, or keywords, or hot words")
        return self

    @property
    def recognition(self) -> Recognition:
        """The same for a recogniser."""
        return Recognition(
            language=self.language,
            translate=self.translate,
            prompt=self.prompt,
            temperature=self.temperature,
            hot_words=self.hot_words,
            grammar=self.grammar,
            keywords=self.keywords,
            hypotheses=1 + self.alternatives,
            word_times=self.word_times,
        )


class Sound(Record):
    """What the bytes of audio are."""

    format: Annotated[Format, _or_default("auto")] = Field(
        default="auto",
        description="`auto`: a file (wav, flac, ogg, mp3), told by how it starts. `s16le`, `f32le`: raw samples.",
    )
    sample_rate: int = Field(default=0, ge=0, le=2**31 - 1, description="Of raw samples, in Hz.")
    channels: int = Field(default=0, ge=0, le=2**31 - 1, description="Of raw samples. Omitted: one.")

    @model_validator(mode="after")
    def _raw_samples_have_a_rate(self) -> Self:
        if self.format == "auto" and (self.sample_rate or self.channels):
            raise PydanticCustomError(
                "sample_rate",
                "sample_rate and channels go with the formats s16le and f32le; files say theirs themselves",
            )
        if self.format != "auto" and not self.sample_rate:
            raise PydanticCustomError("sample_rate", "sample_rate: give that of the raw samples, such as 16000")
        return self

    @property
    def pcm(self) -> Pcm | None:
        """What raw samples are; None for a file."""
        return Pcm(Encoding(self.format), self.sample_rate, self.channels or 1) if self.format != "auto" else None
