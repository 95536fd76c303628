"""English speech by Moonshine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Abilities, Recognition, Recognized, Segment, Utterance, Word
from services.engines.moonshine.alignment import starts
from services.engines.moonshine.network import Network
from services.engines.moonshine.pauses import between, pauses
from services.engines.moonshine.search import Hypothesis, search
from services.engines.moonshine.words import Vocabulary

LANGUAGE = "en"

SECONDS = 20.0
"""Longest utterance. LJSpeech clips joined to pieces of up to 20 s have 2.8 % of their words wrong, to pieces of 30 s
2.5 %, alone 3.0 %; but 30 s take 1.8 s of one core, too long for who waits, and 20 s take 1."""

BEAM = 1
"""Hypotheses. On LJSpeech two make 12 % fewer errors than one, for a fifth more time, but only if there is no silence
around an utterance, which gains more: with it both err alike."""

TOKENS_PER_SECOND = 6.5
FREE_TOKENS = 8
"""Most tokens of an utterance: so many a second, and these. Of those clips none needs 5.5 a second."""

NOTHING = "You"
"""What the network writes of most silence, noise and tones. Who says the word alone gets a full stop."""


class MoonshineRecognizer:
    """One recogniser, shared by all lanes; utterances of a batch are run one by one (see `network`)."""

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        self._network: Network | None = network
        self._vocabulary = vocabulary

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open ``encoder.onnx``, ``decoder.onnx`` and ``tokenizer.json``.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
        """
        return cls(Network.load(artefact, options), Vocabulary.load(artefact))

    @property
    def abilities(self) -> Abilities:
        """English, with times."""
        return Abilities(seconds=SECONDS, languages=(LANGUAGE,), word_times=True)

    def check(self, recognition: Recognition) -> None:
        """All that it is able to, it can do."""

    def run(self, batch: Sequence[Utterance]) -> list[Recognized]:
        """What was said in each.

        Raises:
            ServingError: TOO_LARGE, an utterance is longer than `abilities` say.
        """
        if self._network is None:
            raise RuntimeError("the engine is closed")
        return [self._recognize(self._network, utterance) for utterance in batch]

    def close(self) -> None:
        """Drop the sessions and their memory. Pipelines may share an engine, so it may be closed more than once."""
        self._network = None

    def _recognize(self, network: Network, utterance: Utterance) -> Recognized:
        if utterance.seconds > SECONDS:
            raise ServingError(
                Code.TOO_LARGE,
                f"{utterance.seconds:.1f} s in one utterance; cut it into {SECONDS:g} s or less.",
                "audio",
            )
        heard = network.encode(utterance.samples)
        limit = FREE_TOKENS + int(TOKENS_PER_SECOND * utterance.seconds)
        found = search(network, heard, limit, BEAM)
        text = self._vocabulary.text(found.tokens)
        said = text != NOTHING and any(map(str.isalnum, text))  # notes of music are not
        return Recognized((self._segment(text, found, utterance),) if said else (), LANGUAGE)

    def _segment(self, text: str, found: Hypothesis, utterance: Utterance) -> Segment:
        seconds = utterance.seconds
        words: tuple[Word, ...] = ()
        if utterance.recognition.word_times:
            words = self._vocabulary.words(found, starts(found.attention, seconds))
            words = between(words, pauses(utterance.samples))
        return Segment(text, 0.0, seconds, found.score, words, found.tokens)
