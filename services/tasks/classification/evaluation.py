"""Scores a classification model on labelled texts: accuracy, macro F1, and expected calibration error.

ECE: Guo et al. 2017, "On Calibration of Modern Neural Networks", 15 equal bins of the top label's probability.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from services.core.evaluation import Evaluation
from services.core.pipelines import Pipeline
from services.tasks.classification.schema import Classification, ClassifyRequest, ClassifyResponse

_BINS = 15


def evaluate(pipeline: Pipeline, data: Path, group_items: int = 1) -> Evaluation:
    """Score ``pipeline`` on a file of examples (see `read_examples`), ``group_items`` in an engine run.

    Texts past the model's limit are cut.
    """
    examples = sorted(read_examples(data), key=lambda example: len(example[0]))  # alike lengths pad little
    if not examples:
        raise ValueError(f"{data}: no examples")
    results: list[Classification] = []
    for start in range(0, len(examples), group_items):
        results += _classify(pipeline, [text for text, _ in examples[start : start + group_items]])
    names = sorted(score.label for score in results[0].labels)
    gold = [_label(label, names) for _, label in examples]
    return _score(gold, [result.labels[0].label for result in results], [result.labels[0].score for result in results])


def read_examples(file: Path) -> list[tuple[str, str]]:
    """``(text, label)`` pairs of ``text<TAB>label`` lines or of JSON lines with those two fields; may be gzipped.

    A label is a name, or an index into the model's labels in alphabetical order.

    Raises:
        ValueError: a line has no text or label; names the line.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    parse = _parse_json if ".jsonl" in file.name else _parse_tsv
    with opener(file, "rt", encoding="utf-8", newline="\n") as lines:
        return [_parsed(parse, line, f"{file}, line {number}") for number, line in enumerate(lines, 1)]


def _parsed(parse: Callable[[str], tuple[str, str]], line: str, place: str) -> tuple[str, str]:
    try:
        return parse(line)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{place}: expected a text and a label") from None


def _parse_json(line: str) -> tuple[str, str]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise TypeError(row)
    return str(row["text"]), str(row["label"])


def _parse_tsv(line: str) -> tuple[str, str]:
    text, label = line.rstrip("\r\n").split("\t")[:2]
    return text, label


def _classify(pipeline: Pipeline, texts: Sequence[str]) -> tuple[Classification, ...]:
    request = ClassifyRequest(text=tuple(texts), truncate=True)
    items = pipeline.prepare(request)
    response = pipeline.finish(request, items, pipeline.run([item.payload for item in items]))
    return cast("ClassifyResponse", response).results


def _label(label: str, names: Sequence[str]) -> str:
    return names[int(label)] if label.isdecimal() and label not in names else label


def _score(gold: Sequence[str], answers: Sequence[str], confidences: Sequence[float]) -> Evaluation:
    right = np.array([expected == answer for expected, answer in zip(gold, answers, strict=True)])
    metrics = {
        "accuracy": float(right.mean()),
        "macro_f1": float(np.mean([_f1(gold, answers, label) for label in sorted({*gold, *answers})])),
        "ece": calibration_error(right, np.array(confidences)),
        "examples": float(len(gold)),
    }
    return Evaluation("accuracy", metrics, answers)


def _f1(gold: Sequence[str], answers: Sequence[str], label: str) -> float:
    both = sum(expected == answer == label for expected, answer in zip(gold, answers, strict=True))
    named = sum(expected == label for expected in gold) + sum(answer == label for answer in answers)
    return 2 * both / named if named else 0.0


def calibration_error(right: NDArray[np.bool_], confidences: NDArray[np.float64]) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by their examples."""
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    gaps = [abs(right[bins == b].mean() - confidences[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))
