"""The two Meters: prometheus_client, for a process that answers ``/metrics`` itself, and Ray's, for a cluster.

Ray scrapes only what goes through its own metrics, and prefixes every name with ``ray_``.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.core.settings import Settings
from services.core.telemetry import METRICS, Meter, Metric, MetricKind

_RECORD = {MetricKind.COUNTER: "inc", MetricKind.GAUGE: "set", MetricKind.HISTOGRAM: "observe"}


class PrometheusMeter:
    """Keeps all families in a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._families = {metric.name: _family(metric, self._registry) for metric in METRICS}
        # Looking a child up by labels costs more than recording; each is looked up once.
        self._record: dict[tuple[str, ...], Callable[[float], None]] = {}

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Observe, add or set, by the metric's kind."""
        key = (metric.name, *labels)
        record = self._record.get(key)
        if record is None:
            child = self._families[metric.name].labels(*labels)
            record = self._record[key] = getattr(child, _RECORD[metric.kind])
        record(value)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


def _family(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is MetricKind.COUNTER:
        return Counter(metric.name, metric.help, metric.labels, registry=registry)
    if metric.kind is MetricKind.GAUGE:
        return Gauge(metric.name, metric.help, metric.labels, registry=registry)
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)


class RayMeter:
    """Records through Ray, inside a Ray worker."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._families = {metric.name: _ray_family(metric, metrics) for metric in METRICS}

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Observe, add or set, by the metric's kind."""
        if metric.kind is MetricKind.COUNTER and not value:
            return  # Ray refuses to add nothing
        family = self._families[metric.name]
        getattr(family, _RECORD[metric.kind])(value, tags=dict(zip(metric.labels, labels, strict=True)))

    def exposition(self) -> bytes:
        """Nothing: Ray exposes them, on each node's metrics port."""
        return b"# Metrics are exported by Ray.\n"


def _ray_family(metric: Metric, metrics: Any) -> Any:
    if metric.kind is MetricKind.HISTOGRAM:
        return metrics.Histogram(metric.name, metric.help, boundaries=list(metric.buckets), tag_keys=metric.labels)
    family = metrics.Counter if metric.kind is MetricKind.COUNTER else metrics.Gauge
    return family(metric.name, metric.help, tag_keys=metric.labels)


def make_meter(settings: Settings) -> Meter:
    """The meter of a Ray replica."""
    return RayMeter() if settings.ray_metrics else PrometheusMeter()
