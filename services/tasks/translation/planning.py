"""A request -> its work: texts split into sentences, and those into what the model takes.

Owns the limits of a sentence: tokens, kept pieces, and how long its translation may become. Knows no engine.
"""

import html
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from services.core.catalog import ModelSpec
from services.core.engine import Decoding, Seq2SeqInput
from services.core.errors import Code, ServingError
from services.tasks.translation.languages import AUTO, Pair, known, pairs_of, sources_of
from services.tasks.translation.schema import TranslateRequest
from services.tasks.translation.text import (
    Keep,
    LanguageDetector,
    Literal,
    Sentence,
    cut,
    cut_to_holders,
    hide,
    join_pieces,
    split,
)
from services.tasks.translation.work import Task, Work

DEFAULT_BEAM = 2

_RATIO, _SLACK = 3, 16
"""A translation has at most so many times the tokens of its sentence, and so many more."""

_MOST_KEPT = 16
"""Kept pieces of a sentence for a model that has no holders: it would lose one of more."""

_TAG = re.compile(r"<[^<>]*>")
_LISTED = 40


class Codec(Protocol):
    """Of `services.core.codec.Codec`, what planning needs."""

    holders: tuple[str, ...]

    def encode(self, texts: Sequence[str], source: str, target: str) -> list[tuple[int, ...]]:
        """Ids of each text as the encoder takes them."""

    def prefix(self, target: str) -> tuple[int, ...]:
        """Ids the decoder is given first."""


class Planner:
    """Plans for one model."""

    def __init__(self, spec: ModelSpec, codec: Codec, detector: LanguageDetector) -> None:
        self._model = spec.id
        self._longest = spec.max_tokens
        self._codec = codec
        self._detector = detector
        self.pairs = pairs_of(spec)

    def plan(self, request: TranslateRequest) -> list[Work]:
        """The work of all texts, in order; each has some.

        Raises:
            ServingError: INVALID_ARGUMENT for languages the model does not translate between.
        """
        keep = Keep(request.preserve, request.glossary)
        beam = request.beam_size or max(DEFAULT_BEAM, request.alternatives + 1)
        decoding = Decoding(beam, request.alternatives + 1, attention=request.alignment)
        return [
            work
            for index, text in enumerate(request.text)
            for work in self._of_text(index, text, self._pair(request, index), request, keep, decoding)
        ]

    def _of_text(
        self, index: int, text: str, pair: Pair, request: TranslateRequest, keep: Keep, decoding: Decoding
    ) -> list[Work]:
        if pair.source == pair.target:
            return [Work(index, pair, text)]
        parts = split(text, pair.source, markup=request.format == "html", keep=keep)
        before, found = "", []
        for part in parts:
            if isinstance(part, Literal):
                before += part.text
            elif not part.needs_model:
                before += join_pieces(part, ())
            else:
                found.append((before, part))
                before = ""
        tasks = self._tasks([sentence for _, sentence in found], pair, decoding, request.max_tokens)
        works = [
            Work(index, pair, literal if first else "", task)
            for (literal, _), own in zip(found, tasks, strict=True)
            for first, task in zip([True, *[False] * len(own)], own, strict=False)
        ]
        last = works.pop() if works else Work(index, pair, "")
        return [*works, Work(index, pair, last.before, last.task, before)]

    def _tasks(
        self, sentences: Sequence[Sentence], pair: Pair, decoding: Decoding, max_tokens: int | None
    ) -> list[list[Task]]:
        """Of each sentence its task; of one that is too long, those of its parts."""
        parts = [self._cut(sentence, pair) for sentence in sentences]
        flat = [part for own in parts for part in own]
        inputs = self.inputs([hide(part, self._codec.holders) for part in flat], pair, max_tokens)
        tasks = [Task(part, one, pair, decoding) for part, one in zip(flat, inputs, strict=True)]
        ends = list(accumulate(map(len, parts)))
        return [tasks[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def inputs(self, texts: Sequence[str], pair: Pair, max_tokens: int | None = None) -> list[Seq2SeqInput]:
        """Texts as the model takes them, and how long their translations may become."""
        prefix = self._codec.prefix(pair.target)
        return [
            Seq2SeqInput(ids, prefix, min(max_tokens or self._most, _RATIO * len(ids) + _SLACK))
            for ids in self._codec.encode(texts, pair.source, pair.target)
        ]

    @property
    def _most(self) -> int:
        return 2 * self._longest

    def _cut(self, sentence: Sentence, pair: Pair) -> list[Sentence]:
        few = cut_to_holders(sentence, len(self._codec.holders) or _MOST_KEPT)
        return [part for one in few for part in cut(one, lambda part: self._fits(part, pair))]

    def _fits(self, sentence: Sentence, pair: Pair) -> bool:
        (ids,) = self._codec.encode([hide(sentence, self._codec.holders)], pair.source, pair.target)
        return len(ids) <= self._longest

    def _pair(self, request: TranslateRequest, index: int) -> Pair:
        """The direction of one text."""
        target = known(request.target, (pair.target for pair in self.pairs))
        if target is None:
            raise self._unsupported(f"{self._model} does not translate to {request.target!r}", "target")
        sources = sources_of(self.pairs, target)
        if request.source == AUTO:
            return self._detected(request, index, sources, target)
        if request.source == request.target:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"source and target are both {request.source!r}; give two languages.", "target"
            )
        source = known(request.source, sources)
        if source is None:
            raise self._unsupported(f"{self._model} does not translate {request.source!r} to {target!r}", "source")
        return Pair(source, target)

    def _detected(self, request: TranslateRequest, index: int, sources: Sequence[str], target: str) -> Pair:
        text = request.text[index]
        if request.format == "html":
            text = html.unescape(_TAG.sub(" ", text))
        found = self._detector.detect(text, (*sources, target)).language
        if found not in (*sources, target):
            what = f"text[{index}] seems to be in {found!r}, which {self._model} does not translate to {target!r};"
            raise self._unsupported(f"{what} if it is not, give its source", f"text[{index}]")
        return Pair(found, target)

    def _unsupported(self, what: str, param: str) -> ServingError:
        listed = ", ".join(map(str, self.pairs[:_LISTED])) + (", …" if len(self.pairs) > _LISTED else "")
        return ServingError(Code.INVALID_ARGUMENT, f"{what}; it translates: {listed}.", param)
