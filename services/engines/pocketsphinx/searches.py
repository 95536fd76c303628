"""What a request asks the library to search for, as the library reads it; kept for the next request like it."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from services.core.errors import Code, ServingError
from services.core.speech import Recognition
from services.engines.pocketsphinx.automaton import automaton, grammar_file
from services.engines.pocketsphinx.dictionary import Dictionary
from services.engines.pocketsphinx.jsgf import parse
from services.engines.pocketsphinx.keywords import keyphrases, keyword_file

_KEPT = 64


class Kind(StrEnum):
    """What can be said."""

    SPEECH = "speech"
    GRAMMAR = "grammar"
    KEYWORDS = "keywords"


@dataclass(frozen=True, slots=True)
class Search:
    """One search.

    Args:
        kind: of it.
        content: the library's file of the grammar or the keywords.
        thresholds: by phrase, of keywords.
    """

    kind: Kind
    content: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of equal searches the same."""
        return f"{self.kind}-{hashlib.sha256(self.content.encode()).hexdigest()}"


SPEECH = Search(Kind.SPEECH)


class Searches:
    """Searches by what requests ask for; those of the last requests are kept. Safe to call from several threads."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Search] = OrderedDict()
        self._lock = Lock()

    def of(self, recognition: Recognition) -> Search:
        """Milliseconds for the largest grammar, microseconds when it is kept.

        Raises:
            ServingError: INVALID_ARGUMENT; the grammar or the keywords cannot be used, or there are both.
        """
        if not recognition.grammar and not recognition.keywords:
            return SPEECH
        key = (recognition.grammar, recognition.keywords)
        with self._lock:
            search = self._kept.pop(key, None)
        search = search or self._made(recognition)
        with self._lock:
            self._kept[key] = search
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return search

    def _made(self, recognition: Recognition) -> Search:
        if recognition.grammar and recognition.keywords:
            raise ServingError(Code.INVALID_ARGUMENT, "keywords: not with a grammar; send one of the two", "keywords")
        if recognition.keywords:
            phrases = keyphrases(recognition.keywords, self._dictionary)
            return Search(Kind.KEYWORDS, keyword_file(phrases), {phrase.text: phrase.threshold for phrase in phrases})
        graph = automaton(parse(recognition.grammar))
        self._dictionary.check(graph.words, "grammar")
        return Search(Kind.GRAMMAR, grammar_file(graph))
