"""What a speech recogniser is to the rest of the project: utterances in, what was said out.

Knows samples and seconds. Does not know files, formats, silence, streams, requests or protocols: whoever calls cuts
audio into utterances that the recogniser can take, and knows where in the recording each of them is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from services.core.audio import SPEECH_RATE, Samples
from services.core.engine import Engine


@dataclass(frozen=True, slots=True)
class Recognition:
    """How an utterance is to be recognised. What a recogniser is not able to, it is not asked for: see `Abilities`.

    Args:
        language: ISO 639 code of what is spoken; None: found by the recogniser, or the only one it knows.
        translate: write English, whatever is spoken.
        prompt: text that comes before, in style and spelling.
        temperature: of sampling; None: as the recogniser does by itself, which may try several.
        hot_words: words or phrases that are likelier than the model thinks.
        grammar: JSGF of all that can be said; empty: anything can.
        keywords: phrases to spot; all else is left out. Empty: everything is written.
        hypotheses: how many are wanted, at most.
        word_times: whether words, with their times, are wanted.
    """

    language: str | None = None
    translate: bool = False
    prompt: str = ""
    temperature: float | None = None
    hot_words: tuple[str, ...] = ()
    grammar: str = ""
    keywords: tuple[str, ...] = ()
    hypotheses: int = 1
    word_times: bool = False


@dataclass(frozen=True, slots=True)
class Utterance:
    """Some speech, and how it is to be recognised.

    Args:
        samples: at 16 kHz; at least one, and at most what the recogniser takes.
        recognition: how.
    """

    samples: Samples
    recognition: Recognition = field(default_factory=Recognition)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SPEECH_RATE


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it is written, without spaces around it.

    Args:
        text: with the punctuation that touches it.
        start: seconds from the beginning of the utterance.
        end: not before the start.
        probability: how sure the recogniser is of it, 0 to 1.
    """

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of an utterance: most recognisers make one of all of it.

    Args:
        text: without spaces around it; may be empty.
        start: seconds from the beginning of the utterance.
        end: not before the start.
        score: mean natural logarithm of its tokens' (or words') probabilities; not positive.
        words: if asked for.
        tokens: ids, of a recogniser that has them.
        no_speech: probability that nobody speaks, of a recogniser that tells.
        compression_ratio: of its text; high if it repeats itself.
        temperature: at which it was sampled.
    """

    text: str
    start: float
    end: float
    score: float
    words: tuple[Word, ...] = ()
    tokens: tuple[int, ...] = ()
    no_speech: float = 0.0
    compression_ratio: float = 1.0
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another text of a whole utterance, and its score as a segment's."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Recognized:
    """What was said in an utterance.

    Args:
        segments: in order; none if nothing was.
        language: ISO 639 code of what is spoken.
        language_probability: of that; 1 if it was given.
        alternatives: other texts, best first.
    """

    segments: tuple[Segment, ...]
    language: str
    language_probability: float = 1.0
    alternatives: tuple[Alternative, ...] = ()

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(segment.text for segment in self.segments if segment.text)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a recogniser can be asked for.

    Args:
        seconds: longest utterance.
        languages: ISO 639 codes it knows.
        translates: into English.
        prompts: takes a prompt.
        samples: takes a temperature.
        hot_words: takes hot words.
        grammars: takes a grammar.
        keywords: spots keywords.
        hypotheses: most it gives.
        word_times: gives words with times.
    """

    seconds: float
    languages: tuple[str, ...]
    translates: bool = False
    prompts: bool = False
    samples: bool = False
    hot_words: bool = False
    grammars: bool = False
    keywords: bool = False
    hypotheses: int = 1
    word_times: bool = True


@runtime_checkable
class Recognizer(Engine, Protocol):
    """Utterances in, what was said in each out."""

    @property
    def abilities(self) -> Abilities:
        """What it can be asked for."""

    def check(self, recognition: Recognition) -> None:
        """Make sure that it can do this, beyond what its abilities tell: that a grammar is one, say. Takes no time.

        Raises:
            ServingError: it cannot; names the field.
        """

    def run(self, batch: Sequence[Utterance]) -> Sequence[Recognized]:
        """What was said in each; of an utterance it does not depend on the company that it keeps."""
