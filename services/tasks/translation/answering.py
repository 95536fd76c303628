"""Outputs -> the records of an answer. Knows no model."""

import math
from collections.abc import Sequence

from services.tasks.translation.schema import Alternative, Translation
from services.tasks.translation.work import Found, Output, Work


def translation(works: Sequence[Work], outputs: Sequence[Output]) -> Translation:
    """The translation of a text, or of a part of it, from its work in order."""
    others = max(len(output.found) for output in outputs)
    flags = sorted(frozenset().union(*(output.flags for output in outputs)))
    return Translation(
        translation=_joined(works, outputs, 0),
        source=works[0].pair.source,
        target=works[0].pair.target,
        score=_score(works, outputs, 0),
        alternatives=tuple(
            Alternative(translation=_joined(works, outputs, rank), score=_score(works, outputs, rank))
            for rank in range(1, others)
        ),
        flags=tuple(flags),
        alignment=tuple(output.alignment for output in outputs if output.alignment is not None),
    )


def _joined(works: Sequence[Work], outputs: Sequence[Output], rank: int) -> str:
    """The text with each sentence's translation of this rank, or its last where it has fewer."""
    parts = zip(works, outputs, strict=True)
    return "".join(work.before + _of_rank(output, rank).text + work.after for work, output in parts)


def _of_rank(output: Output, rank: int) -> Found:
    return output.found[min(rank, len(output.found) - 1)]


def _score(works: Sequence[Work], outputs: Sequence[Output], rank: int) -> float:
    """Geometric mean of the probabilities of all tokens, ends included."""
    counts = [output.tokens + 1 if work.task else 0 for work, output in zip(works, outputs, strict=True)]
    logs = [_of_rank(output, rank).score * count for output, count in zip(outputs, counts, strict=True)]
    return math.exp(min(0.0, sum(logs) / max(1, sum(counts))))
