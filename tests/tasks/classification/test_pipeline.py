from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions, Logits, TokenIds
from services.core.errors import ServingError
from services.engines.fake import FakeEncoder
from services.tasks.classification.pipeline import ClassifyPipeline, softmax
from services.tasks.classification.schema import ClassifyRequest, ClassifyResponse

SPEC = ModelSpec(
    task="classification",
    name="m",
    description="",
    engine="fake",
    labels=("negative", "positive"),
    max_tokens=64,
    licence="none",
)

MIXED = [
    "plain words",
    "naïve café",
    "日本語のテキスト",
    "שלום עולם",
    "مرحبا بالعالم",
    "👩‍🚀 went up",
    "a\x00b",
    "1 + 1 = 2",
]

# A letter first, so that no text is made of control characters only.
texts = st.lists(st.text(max_size=12).map("x".__add__) | st.sampled_from(MIXED), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def pipeline(tokenizer_file: Path) -> ClassifyPipeline:
    return ClassifyPipeline.load(SPEC, tokenizer_file.parent, FakeEncoder.load(Path(), EngineOptions()))


def classify(pipeline: ClassifyPipeline, *texts: str, top_k: int | None = None) -> ClassifyResponse:
    request = ClassifyRequest(text=texts, top_k=top_k, truncate=True)
    prepared = pipeline.prepare(request)
    return pipeline.finish(request, prepared, list(pipeline.run([item.payload for item in prepared])))


@settings(max_examples=60)
@given(given_texts=texts)
def test_scores_are_sorted_probabilities_of_the_models_labels(
    pipeline: ClassifyPipeline, given_texts: list[str]
) -> None:
    results = classify(pipeline, *given_texts).results
    assert len(results) == len(given_texts)
    for result in results:
        scores = [label.score for label in result.labels]
        assert {label.label for label in result.labels} == set(SPEC.labels)
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-6)
        assert min(scores) >= 0


@settings(max_examples=60)
@given(given_texts=texts)
def test_a_list_gets_the_answers_its_texts_get_alone(pipeline: ClassifyPipeline, given_texts: list[str]) -> None:
    alone = [classify(pipeline, text).results[0] for text in given_texts]
    assert list(classify(pipeline, *given_texts).results) == alone


def test_each_label_gets_its_own_column_of_the_engine(pipeline: ClassifyPipeline) -> None:
    ids = pipeline.prepare(ClassifyRequest(text=("hello",)))[0].payload
    logits = {"negative": np.sin(ids).sum(), "positive": np.sin(2 * ids).sum()}
    total = sum(np.exp(value) for value in logits.values())
    for label in classify(pipeline, "hello").results[0].labels:
        assert label.score == pytest.approx(np.exp(logits[label.label]) / total, rel=1e-5)


@pytest.mark.parametrize(("top_k", "kept"), [(1, 1), (2, 2), (99, 2), (None, 2)])
def test_top_k_keeps_the_best(pipeline: ClassifyPipeline, top_k: int | None, kept: int) -> None:
    whole = classify(pipeline, "hello").results[0].labels
    assert classify(pipeline, "hello", top_k=top_k).results[0].labels == whole[:kept]


def test_equal_scores_keep_the_catalogs_order(tokenizer_file: Path) -> None:
    class Even(FakeEncoder):
        def run(self, batch: Sequence[TokenIds]) -> Logits:
            return np.zeros((len(batch), 2), dtype=np.float32)

    pipeline = ClassifyPipeline.load(SPEC, tokenizer_file.parent, Even())
    assert [(label.label, label.score) for label in classify(pipeline, "a").results[0].labels] == [
        ("negative", 0.5),
        ("positive", 0.5),
    ]


def test_usage_and_cost_are_tokens_with_special_ones(pipeline: ClassifyPipeline) -> None:
    request = ClassifyRequest(text=("abc", "é"))
    assert [item.cost for item in pipeline.prepare(request)] == [5, 4]
    response = classify(pipeline, "abc", "é")
    assert response.usage.tokens == 9
    assert response.model == "m@1"


def test_text_past_the_limit_is_refused_unless_truncated(pipeline: ClassifyPipeline) -> None:
    with pytest.raises(ServingError, match=r"text\[1\]: 102 tokens, and m@1 takes at most 64"):
        pipeline.prepare(ClassifyRequest(text=("fine", "a" * 100)))
    assert classify(pipeline, "a" * 100).usage.tokens == 64


def test_softmax_is_right_and_safe_for_large_logits() -> None:
    logits = np.array([[0.0, np.log(3)], [1e4, 1e4], [-1e4, 1e4]], dtype=np.float32)
    np.testing.assert_allclose(softmax(logits), np.array([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]), atol=1e-6)
    assert softmax(logits).dtype == np.float32
