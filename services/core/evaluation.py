"""What scoring a model means, whatever the task: run its pipeline over labelled examples, get metrics and answers.

The task's own ``evaluation`` module reads the examples and computes the metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.pipelines import Pipeline


@dataclass(frozen=True)
class Evaluation:
    """A model's result on one data set.

    Args:
        metrics: by name; ``primary`` is the one a gate compares.
        answers: the model's answer to each example, for comparing two builds of one model.
        notes: what must stand beside the figures, such as how they were computed.
    """

    primary: str
    metrics: Mapping[str, float]
    answers: Sequence[str]
    notes: Sequence[str] = ()

    @property
    def score(self) -> float:
        """The primary metric."""
        return self.metrics[self.primary]


Evaluate = Callable[[Pipeline, Path, int], Evaluation]
"""Pipeline, file of examples, and how many items share an engine run: as many as when serving, since on a graph that
quantizes activations on the fly the company an item keeps changes its scores."""
