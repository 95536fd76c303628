"""A request -> its work: texts split into sentences, and those into what the model takes.

Owns the limits of a sentence: tokens, kept pieces, and how long its translation may become. Knows no engine.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from services.core.catalog import ModelSpec
from services.core.engine import Decoding, Seq2SeqInput
from services.tasks.translation.direction import Directions
from services.tasks.translation.languages import Pair
from services.tasks.translation.schema import TranslateRequest
from services.tasks.translation.text import (
    Keep,
    LanguageDetector,
    Literal,
    Part,
    Sentence,
    cut,
    cut_to_holders,
    hide,
    in_pieces,
    isolate,
    join_pieces,
    split,
)
from services.tasks.translation.work import Task, Work

DEFAULT_BEAM = 2

_RATIO, _SLACK = 3, 16
"""A translation has at most so many times the tokens of its sentence, and so many more."""

_MOST_KEPT = 16
"""Kept pieces of a sentence for a model that has no holders: it would lose one of more."""

_LONGEST_SHOWN = 100
"""Characters of what is kept that a model without holders is shown; longer stands between sentences."""


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
        self._longest = spec.max_tokens
        self._codec = codec
        self.directions = Directions(spec, detector)

    def plan(self, request: TranslateRequest) -> list[Work]:
        """The work of all texts, in order; each has some.

        Raises:
            ServingError: INVALID_ARGUMENT for languages the model does not translate between.
        """
        keep = Keep(request.preserve, request.glossary)
        beam = request.beam_size or max(DEFAULT_BEAM, request.alternatives + 1)
        decoding = Decoding(beam, request.alternatives + 1, attention=request.alignment)
        works: list[Work] = []
        for index, (text, pair) in enumerate(zip(request.text, self.directions.of(request), strict=True)):
            if pair.source == pair.target:
                works.append(Work(index, pair, text))
                continue
            parts = split(text, pair.source, markup=request.format == "html", keep=keep)
            works += _in_order(index, pair, self._tasks(parts, pair, decoding, request.max_tokens))
        return works

    def inputs(self, texts: Sequence[str], pair: Pair, max_tokens: int | None) -> list[Seq2SeqInput]:
        """Texts as the model takes them, and how long their translations may become."""
        return [self._input(ids, pair, max_tokens) for ids in self._encode(texts, pair)]

    def _tasks(
        self, parts: Iterable[Part], pair: Pair, decoding: Decoding, max_tokens: int | None
    ) -> Iterator[str | Task]:
        """Literals and tasks in order; a sentence that is too long becomes several."""
        small = [one for part in parts for one in self._small(part)]
        sentences = [part for part in small if isinstance(part, Sentence) and part.needs_model]
        encoded = iter(self._encode([hide(part, self._codec.holders) for part in sentences], pair))
        for part in small:
            if isinstance(part, Literal):
                yield part.text
            elif not part.needs_model:
                yield join_pieces(part, ())
            elif len(ids := next(encoded)) <= self._longest:
                yield Task(part, self._input(ids, pair, max_tokens), pair, decoding, max_tokens)
            else:
                yield from self._cut(part, pair, decoding, max_tokens)

    def _small(self, part: Part) -> Iterator[Part]:
        """Parts with no more kept pieces, and none longer, than the model can be shown."""
        if isinstance(part, Literal):
            yield part
            return
        holders = len(self._codec.holders)
        for one in (part,) if holders else isolate(part, _LONGEST_SHOWN):
            if isinstance(one, Sentence):
                yield from cut_to_holders(one, holders or _MOST_KEPT)
            else:
                yield one

    def _cut(self, sentence: Sentence, pair: Pair, decoding: Decoding, max_tokens: int | None) -> Iterator[str | Task]:
        for part in cut(sentence, lambda part: len(self._ids(part, pair)) <= self._longest):
            ids = self._ids(part, pair)
            if part.needs_model and len(ids) <= self._longest:
                yield Task(part, self._input(ids, pair, max_tokens), pair, decoding, max_tokens)
            else:  # what cannot be cut further is left as it is
                yield join_pieces(part, in_pieces(part))

    def _ids(self, sentence: Sentence, pair: Pair) -> tuple[int, ...]:
        (ids,) = self._encode([hide(sentence, self._codec.holders)], pair)
        return ids

    def _encode(self, texts: Sequence[str], pair: Pair) -> list[tuple[int, ...]]:
        return self._codec.encode(texts, pair.source, pair.target)

    def _input(self, ids: tuple[int, ...], pair: Pair, max_tokens: int | None) -> Seq2SeqInput:
        most = max_tokens or 2 * self._longest
        return Seq2SeqInput(ids, self._codec.prefix(pair.target), min(most, _RATIO * len(ids) + _SLACK))


def _in_order(index: int, pair: Pair, found: Iterable[str | Task]) -> list[Work]:
    """The work of one text: each task with the literals before it, the last with those after it, too."""
    works: list[Work] = []
    literals = ""
    for one in found:
        if isinstance(one, str):
            literals += one
        else:
            works.append(Work(index, pair, literals, one))
            literals = ""
    last = works.pop() if works else Work(index, pair, "")
    return [*works, Work(index, pair, last.before, last.task, literals)]
