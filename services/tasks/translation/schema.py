"""Request and answer of translation; fields are those of ``chorale.translation.v1``."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.core.catalog import ModelSpec
from services.core.schema import Record, Response, TextRequest
from services.tasks.translation.languages import AUTO, known

MAX_TERMS = 1000
"""Most terms of a glossary, and most that are to be preserved."""

MAX_BEAM = 8

MAX_ALIGNED = 5000
"""Most characters of a request that asks for alignment: its weights are a thousand times as much."""

_TEXT, _TERM = 500, 50
"""What preparing a text or a term costs beside its characters, in characters."""


def _language(code: str) -> str:
    parts = code.replace("_", "-").split("-")
    if not (2 <= len(parts[0]) <= 4 and all(part.isascii() and part.isalnum() for part in parts) and len(code) <= 35):
        raise PydanticCustomError("language", "Give a language code such as en, de or pt-BR; see GET /v1/models")
    return "-".join(parts).lower()


def _term(term: str) -> str:
    if not term.strip() or "\n" in term:
        raise PydanticCustomError("term", "Give a term: some text on one line")
    return term


def _glossary(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("glossary", "Give an object with the terms and what they are in the target language")
    return _not_too_many(value)


def _not_too_many(value: Any) -> Any:
    # Before the per-item checks, so that a list of a million terms is refused without reading them.
    if isinstance(value, list | tuple | dict) and len(value) > MAX_TERMS:
        raise PydanticCustomError(
            "too_many_terms", "Give at most {limit} terms; these are {count}", {"limit": MAX_TERMS, "count": len(value)}
        )
    return tuple(value) if isinstance(value, list) else value


def _or_default(default: str) -> BeforeValidator:
    # protobuf cannot tell empty from absent; JSON shall not differ
    return BeforeValidator(lambda value: default if value == "" else value)


Language = Annotated[str, AfterValidator(_language)]
Term = Annotated[str, Field(max_length=200), AfterValidator(_term)]


class TranslateRequest(TextRequest):
    """Texts to translate. Line breaks, list marks and spacing come out as they went in."""

    target: Language = Field(description="Language to translate to, such as `de`.")
    source: Annotated[Language, _or_default(AUTO)] = Field(
        default=AUTO, description="Language of the texts; `auto` finds it for each of them."
    )
    format: Annotated[Literal["text", "html"], _or_default("text")] = Field(
        default="text",
        description="`html`: tags come out byte for byte, and what is not to be translated is left alone.",
    )
    preserve: Annotated[tuple[Term, ...], BeforeValidator(_not_too_many)] = Field(
        default=(), description="Terms that come out as they are, wherever they occur as words."
    )
    glossary: Annotated[dict[Term, Term], BeforeValidator(_glossary)] = Field(
        default={}, description="Terms and what they are in the target language."
    )
    beam_size: int | None = Field(
        default=None, ge=1, le=MAX_BEAM, description="Hypotheses kept while searching; 1 is fastest. Omitted: 2."
    )
    alternatives: int = Field(
        default=0, ge=0, lt=MAX_BEAM, description="How many other translations to give of each text."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Most tokens of a sentence's translation. Omitted: three times its own.",
    )
    alignment: bool = Field(
        default=False,
        description="Say what each token of the translation was made from, as weights; for texts of"
        f" {MAX_ALIGNED} characters in all at most.",
    )

    @model_validator(mode="after")
    def _beam_is_wide_enough(self) -> Self:
        if self.beam_size is not None and self.alternatives >= self.beam_size:
            raise PydanticCustomError(
                "beam_size", "beam_size: give at least one more than alternatives, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _alignment_is_small(self) -> Self:
        if self.alignment and sum(map(len, self.text)) > MAX_ALIGNED:
            raise PydanticCustomError(
                "alignment",
                "alignment: give at most {limit} characters of text with it",
                {"limit": MAX_ALIGNED},
            )
        return self

    @property
    def size(self) -> int:
        """As much work to prepare as so many characters."""
        return super().size + _TEXT * (len(self.text) - 1) + _TERM * (len(self.preserve) + len(self.glossary))

    def suits(self, spec: ModelSpec) -> bool:
        """Whether the model makes such translations."""
        target = known(self.target, spec.sources_of)
        return target is not None and (self.source == AUTO or known(self.source, spec.sources_of[target]) is not None)


class Alternative(Record):
    """Another translation of a text."""

    translation: str = Field(description="The text in the target language.")
    score: float = Field(description="As that of the translation.")


class AlignedToken(Record):
    """A token of a translation."""

    token: str = Field(description="Its text; a space at its beginning is one before it.")
    weights: tuple[float, ...] = Field(description="One per source token; together 1.")


class Alignment(Record):
    """What a sentence's translation was made from."""

    source: tuple[str, ...] = Field(description="Tokens of the sentence.")
    target: tuple[AlignedToken, ...] = Field(description="Tokens of its translation.")


class Translation(Record):
    """A text in another language."""

    translation: str = Field(description="The text in the target language.")
    source: str = Field(description="Its language: the one given, or the one found.")
    target: str = Field(description="The language it is in now.")
    score: float = Field(description="How sure the model is: geometric mean of its tokens' probabilities, 0 to 1.")
    alternatives: tuple[Alternative, ...] = Field(default=(), description="Other translations, best first.")
    flags: tuple[str, ...] = Field(
        default=(),
        description="What to know of it: `repetition` (the model had begun to repeat itself and was made to stop),"
        " `length` (a sentence's translation was cut at its limit), `pieces` (a sentence was translated in pieces,"
        " since the model had lost what was to be kept), `empty` (the model had nothing to say of a sentence).",
    )
    alignment: tuple[Alignment, ...] = Field(default=(), description="Of each sentence, if asked for.")


class TranslateResponse(Response):
    """One result per text, in order."""

    results: tuple[Translation, ...] = Field(description="One per text of the request, in its order.")


class TranslatePart(Response):
    """One sentence of one text, in order. The translations of a text's parts are its translation."""

    index: int = Field(description="Which text of the request this is of, from 0.")
    result: Translation = Field(description="The sentence, with what stands before it.")
