"""Translation on an encoder-decoder: texts -> sentences -> hypotheses -> texts, with what is to be kept in its place.

An item is a sentence, so sentences of many texts and many calls share engine runs, and come out one by one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from services.core.catalog import ModelSpec
from services.core.codec import Codec
from services.core.engine import Seq2Seq
from services.core.queueing import Item
from services.core.schema import Usage
from services.tasks.translation.answering import translation
from services.tasks.translation.languages import Pair
from services.tasks.translation.planning import Planner
from services.tasks.translation.schema import TranslatePart, TranslateRequest, TranslateResponse
from services.tasks.translation.text import LanguageDetector
from services.tasks.translation.translator import Translator
from services.tasks.translation.work import NOTHING, Output, Work


class TranslatePipeline:
    """Serves one translation model."""

    def __init__(self, spec: ModelSpec, codec: Codec, engine: Seq2Seq) -> None:
        self._model = spec.id
        self._engine = engine
        self._planner = Planner(spec, codec, LanguageDetector())
        self._translator = Translator(engine, codec, self._planner)

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Seq2Seq) -> Self:
        """Serve ``spec`` from its artefact folder."""
        return cls(spec, Codec.load(artefact), engine)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The directions the model translates in."""
        return self._planner.directions.pairs

    def prepare(self, request: TranslateRequest) -> list[Item]:
        """One item per sentence; its cost is its tokens."""
        return [Item(work, cost_of(work)) for work in self._planner.plan(request)]

    def run(self, payloads: Sequence[Work]) -> list[Output]:
        """Translate a batch of sentences."""
        found = iter(self._translator.translate([work.task for work in payloads if work.task]))
        return [next(found) if work.task else NOTHING for work in payloads]

    def finish(self, request: TranslateRequest, items: Sequence[Item], outputs: Sequence[Output]) -> TranslateResponse:
        """Join the sentences of each text."""
        works: list[Work] = [item.payload for item in items]
        texts: list[list[int]] = [[] for _ in request.text]
        for place, work in enumerate(works):
            texts[work.text].append(place)
        return TranslateResponse(
            model=self._model,
            results=tuple(
                translation([works[place] for place in own], [outputs[place] for place in own]) for own in texts
            ),
            usage=Usage(tokens=sum(map(_tokens, works, outputs))),
        )

    def part(self, request: TranslateRequest, items: Sequence[Item], index: int, output: Output) -> TranslatePart:
        """One sentence."""
        work: Work = items[index].payload
        return TranslatePart(
            model=self._model,
            index=work.text,
            result=translation([work], [output]),
            usage=Usage(tokens=_tokens(work, output)),
        )

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def cost_of(work: Work) -> int:
    """Tokens, as often as they are searched for; work without a task goes along."""
    return len(work.task.input.source) * work.task.decoding.beam_size if work.task else 1


def _tokens(work: Work, output: Output) -> int:
    """What the model read and wrote."""
    return len(work.task.input.source) + output.tokens if work.task else 0
