"""Work -> outputs: engine runs, and what is done when a model loses what is to be kept or begins to repeat itself.

Runs on a lane. Every sentence is searched for once; those that went wrong once more, all together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from services.core.engine import Decoding, Hypothesis, Seq2Seq, Seq2SeqInput
from services.tasks.translation.planning import Planner
from services.tasks.translation.repetition import is_loop
from services.tasks.translation.schema import AlignedToken, Alignment
from services.tasks.translation.text import in_pieces, join_pieces, restore
from services.tasks.translation.work import Flag, Found, Output, Task

_GUARD = 3
"""Tokens of a stretch that may not occur twice, once a translation has begun to loop."""

_Hypotheses = tuple[Hypothesis, ...]


class Codec(Protocol):
    """Of `services.core.codec.Codec`, what translating needs."""

    holders: tuple[str, ...]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of what the model wrote."""

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text."""


class Translator:
    """Translates for one model."""

    def __init__(self, engine: Seq2Seq, codec: Codec, planner: Planner) -> None:
        self._engine = engine
        self._codec = codec
        self._planner = planner

    def translate(self, tasks: Sequence[Task]) -> list[Output]:
        """An output for each task."""
        outputs: dict[int, Output] = {}
        for decoding in dict.fromkeys(task.decoding for task in tasks):
            own = [index for index, task in enumerate(tasks) if task.decoding == decoding]
            searched = self._search([tasks[index].input for index in own], decoding)
            for index, (hypotheses, flags) in zip(own, searched, strict=True):
                if output := self._output(tasks[index], hypotheses, flags):
                    outputs[index] = output
        lost = [index for index in range(len(tasks)) if index not in outputs]
        outputs.update(zip(lost, self._in_pieces([tasks[index] for index in lost]), strict=True))
        return [outputs[index] for index in range(len(tasks))]

    def _search(self, inputs: Sequence[Seq2SeqInput], decoding: Decoding) -> list[tuple[_Hypotheses, frozenset[Flag]]]:
        """Hypotheses of each input; the best of none of them loops."""
        found = list(self._engine.run(inputs, decoding))
        looping = [index for index, own in enumerate(found) if is_loop(own[0].tokens, inputs[index].source)]
        if looping:
            guarded = replace(decoding, no_repeat_ngram=_GUARD)
            again = self._engine.run([inputs[index] for index in looping], guarded)
            for index, hypotheses in zip(looping, again, strict=True):
                found[index] = hypotheses
        return [
            (own, _flags(REPETITION=index in looping, LENGTH=not own[0].finished, EMPTY=not own[0].tokens))
            for index, own in enumerate(found)
        ]

    def _output(self, task: Task, hypotheses: _Hypotheses, flags: frozenset[Flag]) -> Output | None:
        """None if the best has lost something that is to be kept."""
        texts = [restore(self._codec.decode(one.tokens), task.sentence, self._codec.holders) for one in hypotheses]
        if texts[0] is None:
            return None
        # Hypotheses of other tokens may say the same; the first is the best of them.
        best = dict(reversed([(text, one.score) for text, one in zip(texts, hypotheses, strict=True)]))
        found = [Found(text, best[text]) for text in dict.fromkeys(texts) if text is not None]
        return Output(tuple(found), len(hypotheses[0].tokens), flags, self._alignment(task, hypotheses[0]))

    def _in_pieces(self, tasks: Sequence[Task]) -> Iterable[Output]:
        """Each sentence with what is kept where it was, and the words between translated by themselves."""
        texts = [in_pieces(task.sentence) for task in tasks]
        inputs = [
            one
            for task, own in zip(tasks, texts, strict=True)
            for one in self._planner.inputs(own, task.pair, task.max_tokens)
        ]
        searched = iter(self._search(inputs, Decoding()) if inputs else ())
        for task, own in zip(tasks, texts, strict=True):
            results = [next(searched) for _ in own]
            best = [hypotheses[0] for hypotheses, _ in results]
            text = join_pieces(task.sentence, [self._codec.decode(one.tokens) for one in best])
            flags = frozenset({Flag.PIECES}).union(*(flags for _, flags in results))
            tokens = sum(len(one.tokens) for one in best)
            nothing = Alignment(source=(), target=()) if task.decoding.attention else None
            yield Output((Found(text, mean_score(best)),), tokens, flags, nothing)

    def _alignment(self, task: Task, hypothesis: Hypothesis) -> Alignment | None:
        if hypothesis.attention is None:
            return None
        kept = dict(zip(self._codec.holders, (piece.text for piece in task.sentence.kept), strict=False))

        def shown(tokens: Sequence[int]) -> tuple[str, ...]:
            return tuple(kept.get(piece.strip(), piece) for piece in self._codec.pieces(tokens))

        rows = zip(shown(hypothesis.tokens), hypothesis.attention.round(4).tolist(), strict=True)
        return Alignment(
            source=shown(task.input.source),
            target=tuple(AlignedToken(token=token, weights=tuple(weights)) for token, weights in rows),
        )


def mean_score(hypotheses: Sequence[Hypothesis]) -> float:
    """Over all their tokens, ends included."""
    tokens = [len(one.tokens) + 1 for one in hypotheses]
    return sum(one.score * count for one, count in zip(hypotheses, tokens, strict=True)) / max(1, sum(tokens))


def _flags(**raised: bool) -> frozenset[Flag]:
    return frozenset(Flag[name] for name, is_raised in raised.items() if is_raised)
