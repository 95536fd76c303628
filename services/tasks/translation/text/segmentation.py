"""A stretch of running text -> its sentences, and what stands between them.

Knows raw text with tags in it. Does not know where the lines or blocks of a document begin, nor models.
"""

import html
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sentencex

from services.tasks.translation.text.keeping import Keep, Span
from services.tasks.translation.text.parts import Kept, Literal, Part, Piece, Sentence, Words
from services.tasks.translation.text.shown import divide, edges, shown
from services.tasks.translation.text.tags import Kind, kind_of, mates

_WINDOW = 4000
"""Characters given to the splitter at once: in some scripts its time grows with the square of them."""

_Placed = tuple[int, Piece]
"""A piece, and where it starts in what a model sees of the stretch."""


@dataclass(frozen=True)
class _Run:
    """Raw text without a tag in it, what a model sees of that, and what of that is kept."""

    source: str
    text: str
    places: Sequence[int]
    spans: Sequence[Span]


class Segmenter:
    """Finds the sentences in running text of one document.

    Args:
        language: of the document; one the splitter does not know is split like English.
        keep: what stays as it is.
        markup: the text is HTML: entities are decoded, white space is one space.
    """

    def __init__(self, language: str, keep: Keep, *, markup: bool) -> None:
        self._language = language.replace("_", "-").partition("-")[0].lower()
        self._keep = keep
        self._markup = markup

    def parts(self, tokens: Sequence[str | Kept]) -> Iterator[Part]:
        """Sentences and literals of a stretch: raw text, and tags in their places."""
        for pieces in self._groups(tokens):
            yield from shelled(pieces, markup=self._markup)

    def _groups(self, tokens: Sequence[str | Kept]) -> Iterator[list[Piece]]:
        """The pieces of each sentence, with the white space and the tags around it."""
        runs = [token if isinstance(token, Kept) else self._run(token) for token in tokens]
        starts = _sentence_starts([run for run in runs if isinstance(run, _Run)], self._language)
        upcoming = 0
        group: list[Piece] = []
        for offset, piece in self._pieces(runs, starts):
            # Between two sentences, a closing tag belongs to the first, and all that follows to the second.
            if upcoming < len(starts) and offset == starts[upcoming] and not _closes(piece):
                yield group
                group = []
                upcoming += 1
            group.append(piece)
        yield group

    def _run(self, source: str) -> _Run:
        text, places = shown(source, markup=self._markup)
        return _Run(source, text, places, self._keep.spans(text))

    def _pieces(self, runs: Sequence[_Run | Kept], starts: Sequence[int]) -> Iterator[_Placed]:
        base = taken = 0
        for run in runs:
            if isinstance(run, Kept):
                yield base, run
                continue
            end = base + len(run.text)
            cuts = starts[taken : bisect_left(starts, end)]
            taken += len(cuts)
            for offset, piece in self._cut(run, [cut - base for cut in cuts]):
                yield base + offset, piece
            base = end

    def _cut(self, run: _Run, cuts: Sequence[int]) -> Iterator[_Placed]:
        if not run.text:  # control characters only
            yield 0, Words("", run.source)
        spans = {span.start: span for span in run.spans}
        ends = (span.end for span in run.spans)
        for start, end in pairwise(sorted({0, len(run.text), *spans, *ends, *cuts})):
            text, source = run.text[start:end], run.source[run.places[start] : run.places[end]]
            span = spans.get(start)
            yield start, self._kept(text, source, span.replacement) if span else Words(text, source)

    def _kept(self, text: str, source: str, replacement: str | None) -> Kept:
        if replacement is None:
            return Kept(source, source, text)
        return Kept(source, html.escape(replacement, quote=False) if self._markup else replacement, replacement)


def shelled(pieces: Sequence[Piece], *, markup: bool) -> Iterator[Part]:
    """A sentence without the white space and the tags around it, which need no model: between two literals."""
    first, last = _core(pieces)
    core = list(pieces[first:last])
    before = after = ""
    if core and isinstance(core[0], Words):
        space, core[0] = divide(core[0], edges(core[0].text)[0], markup=markup)
        before = space.source
    if core and isinstance(core[-1], Words):
        core[-1], space = divide(core[-1], edges(core[-1].text)[1], markup=markup)
        after = space.source
    sentence = Sentence(tuple(core), markup)
    yield Literal(_source(pieces[:first]) + before)
    changes = sentence.needs_model or any(kept.output != kept.source for kept in sentence.kept)
    yield sentence if changes else Literal(sentence.source)
    yield Literal(after + _source(pieces[last:]))


def _sentence_starts(runs: Sequence[_Run], language: str) -> list[int]:
    """Where sentences after the first start, in the text of all runs; never inside what is kept."""
    spans = []
    base = 0
    for run in runs:
        spans += [(base + span.start, base + span.end) for span in run.spans]
        base += len(run.text)
    starts = []
    upcoming = 0
    for start in _boundaries("".join(run.text for run in runs), language):
        while upcoming < len(spans) and spans[upcoming][1] <= start:
            upcoming += 1
        if upcoming == len(spans) or start <= spans[upcoming][0]:
            starts.append(start)
    return starts


def _boundaries(text: str, language: str) -> Iterator[int]:
    start = 0
    while start < len(text):
        window = text[start : start + _WINDOW]
        goes_on = start + len(window) < len(text)
        sentences = sentencex.segment(language, window)
        if "".join(sentences) != window:  # better one long sentence than a lost or doubled word
            sentences = [window]
        if goes_on and len(sentences) == 1:  # longer than the window, whose end is none of the sentence
            start += _resumption(window)
            continue
        if goes_on:
            sentences.pop()  # the window may have cut it: it starts the next one
        for sentence in sentences:
            start += len(sentence)
            if start < len(text):
                yield start


def _resumption(window: str) -> int:
    """Where to read on in a sentence: before the last word, which may end it, so that its full stop is seen."""
    words = window.rsplit(maxsplit=1)
    before = len(words[0]) if len(words) > 1 else 0
    return before if before > len(window) // 2 else len(window) - 1


def _core(pieces: Sequence[Piece]) -> tuple[int, int]:
    """The range without white space, tags that have no partner here, and elements around all of it."""
    partners = mates(pieces)
    first, last = 0, len(pieces)
    while first < last:
        if _is_loose(first, pieces, partners):
            first += 1
        elif _is_loose(last - 1, pieces, partners):
            last -= 1
        elif partners.get(first) == last - 1:
            first, last = first + 1, last - 1
        else:
            break
    return first, last


def _is_loose(index: int, pieces: Sequence[Piece], partners: Mapping[int, int]) -> bool:
    piece = pieces[index]
    if isinstance(piece, Kept):
        return piece.tag and index not in partners
    return not piece.text.strip()


def _closes(piece: Piece) -> bool:
    return isinstance(piece, Kept) and piece.tag and kind_of(piece.source) is Kind.CLOSES


def _source(pieces: Sequence[Piece]) -> str:
    return "".join(piece.source for piece in pieces)
