"""A Meter on prometheus_client, for a process that answers ``/metrics`` itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.core.telemetry import METRICS, Metric, MetricKind

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
