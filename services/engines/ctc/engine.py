"""The ``ctc`` engine: utterances -> logits -> the likeliest texts -> words.

Without language model, word bonus, hot words and alternatives the best token of each frame is taken, which costs next
to nothing; else prefixes are searched. Word times are of the most probable path of the text that was chosen: networks
trained with CTC tell a token within a frame or two, mostly after its sound began, so words seem shorter than they are;
those that are trained frame by frame tell it all along.
"""

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any, Self

from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Abilities, Alternative, Recognition, Recognized, Segment, Utterance, Word
from services.engines.ctc.alignment import align
from services.engines.ctc.beam import PrefixSearch
from services.engines.ctc.format import CtcFormat
from services.engines.ctc.greedy import best_path
from services.engines.ctc.hot_words import HotWords
from services.engines.ctc.lexicon import Lexicon
from services.engines.ctc.network import Network
from services.engines.ctc.ngrams import NGrams
from services.engines.ctc.posteriors import Posteriors, posteriors
from services.engines.ctc.scoring import Both, EachToken, Language, LanguageScorer
from services.engines.ctc.texts import Scorer, Text, Width
from services.engines.ctc.vocabulary import Vocabulary

_MOST_HOT_WORDS = 1000
"""Letters of them all may be a hundred times as many."""


class CtcRecognizer:
    """A network, its vocabulary and maybe a language model; lanes share all three.

    Args:
        network: opened.
        settings: of the artefact.
        model: if the artefact has one.
    """

    def __init__(self, network: Network, settings: CtcFormat, model: NGrams | None = None) -> None:
        self._network = network
        self._settings = settings
        self._vocabulary = Vocabulary(settings)
        described = settings.language_model
        self._language = Language.of(model, described, self._vocabulary) if model and described else None

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open an artefact folder as `CtcFormat` describes it.

        Raises:
            RuntimeError: onnxruntime fell back to another provider than the first one asked for.
            OperatorError: graph, vocabulary and language model do not belong together, or the latter is damaged.
        """
        settings = CtcFormat.load(artefact)
        network = Network.load(artefact, settings, options)
        described = settings.language_model
        fold = Vocabulary(settings).folded
        return cls(network, settings, NGrams.load(artefact / described.file, fold) if described else None)

    @property
    def abilities(self) -> Abilities:
        """Those of its artefact."""
        return Abilities(
            seconds=self._settings.seconds,
            languages=self._settings.languages,
            hot_words=True,
            hypotheses=self._settings.beam,
        )

    def check(self, recognition: Recognition) -> None:
        """Make sure that the hot words can be written.

        Raises:
            ServingError: INVALID_ARGUMENT; names the one that cannot.
        """
        words = recognition.hot_words
        if len(words) > _MOST_HOT_WORDS or sum(map(len, words)) > 100 * _MOST_HOT_WORDS:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"hot_words: send at most {_MOST_HOT_WORDS}, of 100 letters each", "hot_words"
            )
        for number, phrase in enumerate(words):
            if self._vocabulary.spelled(phrase) is None:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"hot_words[{number}]: this model has no tokens to write it with; spell it as it would be written,"
                    " without punctuation and figures",
                    f"hot_words[{number}]",
                )

    def run(self, batch: Sequence[Utterance]) -> list[Recognized]:
        """What was said in each; of an utterance it does not depend on the company that it keeps."""
        logits = self._network.logits([utterance.samples for utterance in batch])
        heard = [posteriors(rows, self._settings) for rows in logits]
        return [self._recognized(*each) for each in zip(batch, heard, strict=True)]

    def close(self) -> None:
        """Drop the network. Pipelines may share an engine, so it may be closed more than once."""
        self._network.close()

    def _recognized(self, utterance: Utterance, heard: Posteriors) -> Recognized:
        recognition = utterance.recognition
        best, *others = self._texts(heard, recognition)
        found: dict[str, Alternative] = {}
        for other in (best, *others):  # letters of several cases may write one text
            text = self._vocabulary.text(other.labels)
            found.setdefault(text, Alternative(text, _score(other)))
        chosen, *alternatives = found.values()
        segments = (self._segment(utterance, heard, best),) if chosen.text else ()
        wanted = [one for one in alternatives if one.text][: max(0, recognition.hypotheses - 1)]
        return Recognized(segments, self._settings.languages[0], alternatives=tuple(wanted))

    def _texts(self, heard: Posteriors, recognition: Recognition) -> list[Text]:
        """Best first, one at least."""
        settings = self._settings
        searched = self._language or settings.word_bonus or recognition.hot_words or recognition.hypotheses > 1
        if not searched:
            return [best_path(heard, settings.blank, self._vocabulary)]
        scorer, width = self._scorer(recognition.hot_words), Width(settings.beam)
        return PrefixSearch(settings.blank, settings.delimiter, scorer, width).texts(heard.chances)

    def _scorer(self, phrases: Sequence[str]) -> Scorer[Any]:
        vocabulary = self._vocabulary
        hot = None
        if phrases:
            spelled = (vocabulary.spelled(phrase) for phrase in phrases)
            hot = HotWords((labels for labels in spelled if labels), vocabulary, self._settings.hot_bonus)
        scorer = self._text_scorer(phrases)
        return Both(scorer, hot) if hot else scorer

    def _text_scorer(self, phrases: Sequence[str]) -> Scorer[Any]:
        """By the language model, to which hot words are known ones; else by the word bonus."""
        vocabulary = self._vocabulary
        if self._language is None:
            return EachToken(vocabulary.size, self._settings.word_bonus)
        words = (word for phrase in phrases for word in vocabulary.folded(phrase).split())
        return LanguageScorer(self._language, vocabulary, Lexicon(words, vocabulary.written, vocabulary.size))

    def _segment(self, utterance: Utterance, heard: Posteriors, text: Text) -> Segment:
        words = self._words(utterance, heard, text) if utterance.recognition.word_times else ()
        written = self._vocabulary.text(text.labels)
        return Segment(written, 0.0, utterance.seconds, _score(text), words, text.labels)

    def _words(self, utterance: Utterance, heard: Posteriors, text: Text) -> tuple[Word, ...]:
        settings = self._settings
        said = align(heard.chances, text.labels, settings.blank, settings.delimiter)

        def seconds(frame: int) -> float:
            return min(utterance.seconds, max(0.0, settings.frame_offset + frame * settings.frame_seconds))

        words = []
        for span in self._vocabulary.words(text.labels):
            tokens = said[span.start : span.end]
            probability = exp(sum(token.chance for token in tokens) / len(tokens))
            words.append(Word(span.text, seconds(tokens[0].first), seconds(tokens[-1].last + 1), probability))
        return tuple(words)


def _score(text: Text) -> float:
    """Its log probability by sound, shared out among its tokens."""
    return min(0.0, text.chance / max(1, len(text.labels)))
