import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.evaluation import Evaluation
from services.core.queueing import Item
from services.tasks.classification.evaluation import calibration_error, evaluate, read_examples
from services.tasks.classification.schema import Classification, ClassifyRequest, ClassifyResponse, LabelScore

sklearn = pytest.importorskip("sklearn.metrics")

LABELS = ("a", "b", "c")


class Oracle:
    """Answers what each text says: ``a 0.9`` is label a with confidence 0.9."""

    def prepare(self, request: ClassifyRequest) -> Sequence[Item]:
        assert request.truncate
        return [Item(text, 1) for text in request.text]

    def run(self, payloads: Sequence[str]) -> Sequence[str]:
        return payloads

    def finish(self, request: ClassifyRequest, items: Sequence[Item], outputs: Sequence[str]) -> ClassifyResponse:
        return ClassifyResponse(model="m@1", results=tuple(map(self._answer, outputs)))

    def _answer(self, text: str) -> Classification:
        best, confidence, *_ = text.split()
        rest = [label for label in LABELS if label != best]
        scores = [(best, float(confidence)), *((label, (1 - float(confidence)) / 2) for label in rest)]
        return Classification(labels=tuple(LabelScore(label=label, score=score) for label, score in scores))

    def close(self) -> None:
        pass


def score(folder: Path, rows: Sequence[tuple[str, float, str]]) -> Evaluation:
    """Score an oracle on (answer, confidence, gold label) rows."""
    file = folder / "data.tsv"
    file.write_text("".join(f"{answer} {confidence!r}\t{gold}\n" for answer, confidence, gold in rows))
    return evaluate(Oracle(), file)


def test_metrics_of_a_small_example_worked_by_hand(tmp_path: Path) -> None:
    result = score(tmp_path, [("a", 0.95, "a"), ("a", 0.95, "b"), ("b", 0.65, "b"), ("b", 0.65, "b"), ("a", 0.5, "a")])
    assert result.primary == "accuracy"
    assert result.score == result.metrics["accuracy"] == pytest.approx(4 / 5)
    # a: 2 right of 3 answered and 2 gold -> 4/5; b: 2 right of 2 answered and 3 gold -> 4/5
    assert result.metrics["macro_f1"] == pytest.approx(4 / 5)
    # two at 0.95, half right; two at 0.65, all right; one at 0.5, right
    assert result.metrics["ece"] == pytest.approx((2 * 0.45 + 2 * 0.35 + 0.5) / 5)
    assert result.metrics["examples"] == 5


@settings(max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), max_size=40),
    confidence=st.floats(0.34, 1),
)
def test_metrics_are_those_of_scikit_learn(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], confidence: float
) -> None:
    pairs = [*pairs, *zip(LABELS, "bca", strict=True)]  # every label occurs
    answers, gold = zip(*pairs, strict=True)
    rows = [(answer, confidence, expected) for answer, expected in pairs]
    metrics = score(tmp_path_factory.mktemp("data"), rows).metrics
    assert metrics["accuracy"] == pytest.approx(sklearn.accuracy_score(gold, answers))
    assert metrics["macro_f1"] == pytest.approx(sklearn.f1_score(gold, answers, average="macro"))
    assert metrics["ece"] == pytest.approx(abs(metrics["accuracy"] - confidence))


def test_macro_f1_counts_labels_that_were_only_answered(tmp_path: Path) -> None:
    result = score(tmp_path, [("a", 0.9, "a"), ("c", 0.9, "a")])
    assert result.metrics["macro_f1"] == pytest.approx(sklearn.f1_score(["a", "a"], ["a", "c"], average="macro"))


def test_labels_given_by_index_mean_the_labels_in_alphabetical_order(tmp_path: Path) -> None:
    rows = [("a", 0.9, "0"), ("b", 0.9, "1"), ("c", 0.9, "2"), ("c", 0.9, "0")]
    assert score(tmp_path, rows).score == 3 / 4


def test_answers_of_two_models_can_be_compared_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "data.tsv"
    rows = [f"{label} 0.9 {'long ' * number}" for number, label in enumerate("cabcbaabc")]
    file.write_text("".join(f"{row}\ta\n" for row in rows))
    assert list(evaluate(Oracle(), file).answers) == list("cabcbaabc")


def reference_ece(right: Sequence[bool], confidences: Sequence[float]) -> float:
    """Fifteen equal bins, written the long way."""
    bins: dict[int, list[int]] = {}
    for index, confidence in enumerate(confidences):
        bins.setdefault(min(int(confidence * 15), 14), []).append(index)
    gaps = (sum(right[i] - confidences[i] for i in members) for members in bins.values())
    return sum(map(abs, gaps)) / len(right)


@settings(max_examples=50)
@given(answers=st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_calibration_error_is_the_weighted_gap_of_fifteen_bins(answers: list[tuple[bool, float]]) -> None:
    right, confidences = map(list, zip(*answers, strict=True))
    found = calibration_error(np.array(right), np.array(confidences))
    assert found == pytest.approx(reference_ece(right, confidences), abs=1e-9)


def test_calibration_error_at_the_ends() -> None:
    assert calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0
    assert calibration_error(np.array([False]), np.array([1.0])) == 1


EXAMPLES = [('He said "no".', "negative"), ("naïve, 日本 'x", "positive"), ("3 < 5", "1")]


def tsv(rows: Sequence[tuple[str, Any]]) -> str:
    return "".join(f"{text}\t{label}\n" for text, label in rows)


def jsonl(rows: Sequence[tuple[str, Any]]) -> str:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


@pytest.mark.parametrize("name", ["data.tsv", "data.jsonl", "data.tsv.gz", "data.jsonl.gz"])
def test_examples_are_read_from_every_format(tmp_path: Path, name: str) -> None:
    data = (jsonl if "jsonl" in name else tsv)(EXAMPLES).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_examples(tmp_path / name) == EXAMPLES


def test_a_label_that_is_a_number_in_json_is_an_index(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(jsonl([("text", 1)]))
    assert read_examples(tmp_path / "data.jsonl") == [("text", "1")]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("data.tsv", "no tab here"),
        ("data.tsv", ""),
        ("data.jsonl", '{"text": "no label"}'),
        ("data.jsonl", '{"label": "no text"}'),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, name: str, line: str) -> None:
    good = (jsonl if "jsonl" in name else tsv)([("fine", "a"), ("fine", "b")])
    (tmp_path / name).write_text(f"{good}{line}\n{good}")
    with pytest.raises(ValueError, match=rf"{name}, line 3: expected a text and a label"):
        read_examples(tmp_path / name)


@pytest.mark.parametrize("line", ["{", "", "3", '"ab"', "[]x", "null"])
def test_a_line_that_is_no_json_object_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "data.jsonl").write_text(f"{jsonl([('fine', 'a'), ('fine', 'b')])}{line}\n")
    with pytest.raises(ValueError, match=r"data\.jsonl, line 3: "):
        read_examples(tmp_path / "data.jsonl")


def test_a_file_without_examples_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.tsv"):
        score(tmp_path, [])


def test_the_bundled_gates_examples_are_balanced_and_unique() -> None:
    file = Path(__file__).parents[3] / "models" / "recipes" / "sentiment-en" / "verify.tsv"
    examples = read_examples(file)
    assert len({text for text, _ in examples}) == len(examples) == 240
    assert [label for _, label in examples].count("positive") == 120
    assert {label for _, label in examples} == {"positive", "negative"}
