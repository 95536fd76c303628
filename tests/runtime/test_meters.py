"""The Prometheus meter; Ray's is tested in a cluster."""

import math

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from services.core.telemetry import BATCH_FILL, INFLIGHT, QUEUE_SECONDS
from services.runtime.meters import PrometheusMeter


def samples(exposition: bytes) -> dict[tuple[str, str], float]:
    """Values by name and bound, for one set of labels."""
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if sample.labels and not sample.name.endswith("_created")
    }


@given(values=st.lists(st.sampled_from(BATCH_FILL.buckets) | st.floats(0, 2), min_size=1))
def test_histograms_are_those_of_prometheus_client(values: list[float]) -> None:
    meter, registry = PrometheusMeter(), prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram(
        BATCH_FILL.name, BATCH_FILL.help, BATCH_FILL.labels, buckets=BATCH_FILL.buckets, registry=registry
    )
    for value in values:
        meter.record(BATCH_FILL, value, "t", "m@1")
        theirs.labels("t", "m@1").observe(value)
    assert samples(meter.exposition()) == samples(prometheus_client.generate_latest(registry))


def test_a_recorder_and_a_record_go_to_the_same_series() -> None:
    meter = PrometheusMeter()
    meter.record(QUEUE_SECONDS, 1.0, "t", "m@1")
    meter.recorder(QUEUE_SECONDS, "t", "m@1")(2.0)
    found = samples(meter.exposition())
    assert found["chorale_queue_seconds_count", ""] == 2
    assert math.isclose(found["chorale_queue_seconds_sum", ""], 3.0)


def test_watched_gauges_are_read_when_asked_and_add_up() -> None:
    meter, first, second = PrometheusMeter(), [1], [10, 11]
    meter.watch(INFLIGHT, first.__len__, "t", "rest")
    meter.watch(INFLIGHT, second.__len__, "t", "rest")
    assert samples(meter.exposition())["chorale_inflight", ""] == 3
    second.clear()
    assert samples(meter.exposition())["chorale_inflight", ""] == 1
