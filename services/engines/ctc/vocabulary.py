"""Tokens <-> words, by the settings of an artefact. Knows neither probabilities nor time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.engines.ctc.format import CtcFormat

Labels = tuple[int, ...]
"""Ids that a text is written with: no blanks, and delimiters only between words, one at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """A word, and the stretch of labels that writes it."""

    text: str
    start: int
    end: int


class Vocabulary:
    """Reads and writes with an artefact's tokens."""

    def __init__(self, settings: CtcFormat) -> None:
        mute = {settings.blank, settings.delimiter, *settings.silent}
        self.size = len(settings.tokens)
        self.delimiter = settings.delimiter
        self._formatted = settings.formatted
        self.written = {
            number: self.folded(token) for number, token in enumerate(settings.tokens) if number not in mute
        }
        """What each id writes that writes something."""
        self._ids = {text: number for number, text in reversed(self.written.items())}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pieces = re.compile("|".join(map(re.escape, longest_first)))

    def folded(self, text: str) -> str:
        """Text with the case that is written."""
        return text if self._formatted else text.lower()

    def labels(self, tokens: Sequence[int]) -> Labels:
        """Tokens without the delimiters that part nothing."""
        if self.delimiter is None:
            return tuple(tokens)
        kept: list[int] = []
        for token in tokens:
            if token != self.delimiter or (kept and kept[-1] != self.delimiter):
                kept.append(token)
        return tuple(kept[:-1] if kept and kept[-1] == self.delimiter else kept)

    def words(self, labels: Labels) -> list[Span]:
        """What the labels write."""
        if self.delimiter is None:
            return [Span(self.written[label], place, place + 1) for place, label in enumerate(labels)]
        ends = [place for place, label in enumerate((*labels, self.delimiter)) if label == self.delimiter]
        starts = [0, *(end + 1 for end in ends)]
        spans = zip(starts, ends, strict=False)
        return [Span(self._joined(labels[start:end]), start, end) for start, end in spans if end > start]

    def text(self, labels: Labels) -> str:
        """The words with spaces between them."""
        return " ".join(span.text for span in self.words(labels))

    def spelled(self, words: str) -> Labels | None:
        """Labels that write these words; None if no labels do."""
        spelled = [self._spelled(self.folded(word)) for word in words.split()]
        if not spelled or None in spelled:
            return None
        between = () if self.delimiter is None else (self.delimiter,)
        return tuple(label for word in spelled if word for label in (*between, *word))[len(between) :]

    def _joined(self, labels: Labels) -> str:
        return "".join(self.written[label] for label in labels)

    def _spelled(self, word: str) -> Labels | None:
        if self.delimiter is None:
            return (self._ids[word],) if word in self._ids else None
        pieces = self._pieces.findall(word)
        return tuple(self._ids[piece] for piece in pieces) if "".join(pieces) == word else None
