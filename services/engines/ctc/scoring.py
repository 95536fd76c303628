"""What is added to texts, token by token, by a bonus or a language model, with hot words or not: the search's scorers.

Score of a text, beside its log probability by sound: for each word ``weight * ln P(word | words before) + word_bonus``,
and ``unknown`` where the language model has not got it; for its end ``weight * ln P(</s> | words)``. Where tokens are
letters, a word counts when it is over; ``unknown`` counts as soon as no known word begins as the letters so far.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic

import numpy as np

from services.engines.ctc.format import LanguageModelSettings
from services.engines.ctc.hot_words import HotPlace, HotWords
from services.engines.ctc.lexicon import Lexicon
from services.engines.ctc.ngrams import History, NGrams
from services.engines.ctc.posteriors import Floats
from services.engines.ctc.texts import PlaceT, Scorer
from services.engines.ctc.vocabulary import Vocabulary

Place = tuple[History, str]
"""Words before, and letters of the one that is being written."""


class EachToken:
    """The scorer of texts that only their sound is known of: each token adds the same, wherever it is.

    Args:
        tokens: of the vocabulary.
        bonus: natural logarithm.
    """

    def __init__(self, tokens: int, bonus: float = 0.0) -> None:
        self._gains = np.full(tokens, bonus)

    def first(self) -> None:
        """It knows no places."""

    def after(self, place: None, token: int) -> None:
        """It knows no places."""

    def gains(self, place: None) -> Floats:
        """The same everywhere."""
        return self._gains

    def end(self, place: None) -> float:
        """Nothing."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Language:
    """A language model for a vocabulary, loaded once: what requests share."""

    model: NGrams
    settings: LanguageModelSettings
    lexicon: Lexicon

    @classmethod
    def of(cls, model: NGrams, settings: LanguageModelSettings, vocabulary: Vocabulary) -> "Language":
        """With the words of the model for its lexicon."""
        return cls(model, settings, Lexicon(model.words, vocabulary.written, vocabulary.size))


class LanguageScorer:
    """A `Scorer` by a language model.

    Args:
        language: the model.
        vocabulary: of the texts.
        hot: words that are not unknown, whatever the model knows.
    """

    def __init__(self, language: Language, vocabulary: Vocabulary, hot: Lexicon) -> None:
        self._model, self._settings = language.model, language.settings
        self._lexicons = (language.lexicon, hot)
        self._vocabulary = vocabulary
        self._of_letters = lru_cache(None)(self._unknown_after)
        self._of_words = lru_cache(None)(self._next_words)

    def first(self) -> Place:
        """Before the first word."""
        return self._model.first(), ""

    def after(self, place: Place, token: int) -> Place:
        """A letter more, or a word more."""
        history, letters = place
        if self._vocabulary.delimiter is None:
            return self._model.score(history, self._vocabulary.written[token])[1], ""
        if token != self._vocabulary.delimiter:
            return history, letters + self._vocabulary.written[token]
        return (self._model.score(history, letters)[1] if letters else history), ""

    def gains(self, place: Place) -> Floats:
        """Of letters what they make unknown; of what ends a word, or is one, the score of that word."""
        history, letters = place
        delimiter = self._vocabulary.delimiter
        if delimiter is None:
            return self._of_words(history)
        found = self._of_letters(letters)
        if letters:
            found = found.copy()
            found[delimiter] = self._word(history, letters) - self._unknown(letters)
        return found

    def end(self, place: Place) -> float:
        """Of the last word, and of the end."""
        history, letters = place
        if not letters:
            return self._settings.weight * self._model.end(history)
        after = self._model.score(history, letters)[1]
        word = self._word(history, letters) - self._unknown(letters)
        return word + self._settings.weight * self._model.end(after)

    def _word(self, history: History, word: str) -> float:
        known = any(word in lexicon for lexicon in self._lexicons)
        probability = self._model.score(history, word)[0]
        settings = self._settings
        return settings.weight * probability + settings.word_bonus + (0.0 if known else settings.unknown)

    def _unknown(self, letters: str) -> float:
        """What letters of an unfinished word have already cost."""
        known = not letters or any(lexicon.begins(letters) for lexicon in self._lexicons)
        return 0.0 if known else self._settings.unknown

    def _unknown_after(self, letters: str) -> Floats:
        first, hot = (lexicon.following(letters) for lexicon in self._lexicons)
        return np.where(first | hot, 0.0, self._settings.unknown) - self._unknown(letters)

    def _next_words(self, history: History) -> Floats:
        found = np.zeros(self._vocabulary.size)
        for token, word in self._vocabulary.written.items():
            found[token] = self._word(history, word)
        return found


class Both(Generic[PlaceT]):
    """A `Scorer` by another one and hot words."""

    def __init__(self, other: Scorer[PlaceT], hot: HotWords) -> None:
        self._other = other
        self._hot = hot

    def first(self) -> tuple[PlaceT, HotPlace]:
        """Of each."""
        return self._other.first(), self._hot.first()

    def after(self, place: tuple[PlaceT, HotPlace], token: int) -> tuple[PlaceT, HotPlace]:
        """Of each."""
        return self._other.after(place[0], token), self._hot.after(place[1], token)

    def gains(self, place: tuple[PlaceT, HotPlace]) -> Floats:
        """Of both."""
        return self._other.gains(place[0]) + self._hot.gains(place[1])

    def end(self, place: tuple[PlaceT, HotPlace]) -> float:
        """Of both."""
        return self._other.end(place[0]) + self._hot.end(place[1])
