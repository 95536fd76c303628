from collections.abc import Callable

from services.core.errors import Code
from services.core.telemetry import METRICS, OUTCOMES, BatchKey, BatchTelemetry, Metric, MetricKind

CONTRACT = {
    "chorale_request_seconds": ("histogram", ("task", "model", "protocol", "outcome")),
    "chorale_inflight": ("gauge", ("task", "protocol")),
    "chorale_queue_seconds": ("histogram", ("task", "model")),
    "chorale_batch_size": ("histogram", ("task", "model")),
    "chorale_batch_cost": ("histogram", ("task", "model")),
    "chorale_batch_fill_ratio": ("histogram", ("task", "model")),
    "chorale_queue_depth": ("gauge", ("task", "model")),
    "chorale_tokens_total": ("counter", ("task", "model", "kind")),
    "chorale_running_sequences": ("gauge", ("task", "model")),
    "chorale_cache_blocks": ("gauge", ("task", "model")),
    "chorale_time_to_first_token_seconds": ("histogram", ("task", "model")),
    "chorale_inter_token_seconds": ("histogram", ("task", "model")),
    "chorale_audio_seconds_total": ("counter", ("task", "model", "direction")),
    "chorale_realtime_factor": ("histogram", ("task", "model")),
    "chorale_model_load_seconds": ("gauge", ("task", "model")),
}
"""Dashboards and alerts of users rest on these: add freely, rename never."""


def test_names_kinds_and_labels_are_the_contract() -> None:
    exported = {metric.name: (metric.kind.value, metric.labels) for metric in METRICS}
    assert len(exported) == len(METRICS)
    assert exported == CONTRACT


def test_histograms_have_rising_buckets_and_the_others_none() -> None:
    for metric in METRICS:
        assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name


def test_counters_and_only_they_end_in_total() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER), metric.name
        assert metric.help.endswith(".")


def test_every_code_has_an_outcome_of_the_contract() -> None:
    assert set(OUTCOMES) == set(Code)
    assert set(OUTCOMES.values()) <= {"invalid", "rejected", "deadline", "cancelled", "backend", "internal"}


class Recorder:
    """Remembers what is recorded."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, tuple[str, ...]]] = []

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        assert len(labels) == len(metric.labels)
        self.values.append((metric.name, value, labels))

    def recorder(self, metric: Metric, *labels: str) -> Callable[[float], None]:
        return lambda value: self.record(metric, value, *labels)

    def watch(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        assert len(labels) == len(metric.labels)

    def exposition(self) -> bytes:
        return b""


def test_a_run_is_recorded_as_waits_size_cost_and_fill() -> None:
    recorder, labels = Recorder(), ("t", "m@1")
    BatchTelemetry(recorder).ran(BatchKey("t", "m@1", "Classify"), [0.25, 0.5], 6, 8)
    assert recorder.values == [
        ("chorale_queue_seconds", 0.25, labels),
        ("chorale_queue_seconds", 0.5, labels),
        ("chorale_batch_size", 2, labels),
        ("chorale_batch_cost", 6, labels),
        ("chorale_batch_fill_ratio", 0.75, labels),
    ]


def test_a_run_that_cost_nothing_counts_as_full() -> None:
    recorder = Recorder()
    BatchTelemetry(recorder).ran(BatchKey("t", "m@1", "Classify"), [0.0], 0, 0)
    assert recorder.values[-1][:2] == ("chorale_batch_fill_ratio", 1.0)
