"""The two Meters: Prometheus families, for a process that answers ``/metrics`` itself, and Ray's, for a cluster.

Ray scrapes only what goes through its own metrics, and prefixes every name with ``ray_``.
"""

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from services.core.settings import Settings
from services.core.telemetry import METRICS, Meter, Metric, MetricKind

_RECORD = {MetricKind.COUNTER: "inc", MetricKind.GAUGE: "set", MetricKind.HISTOGRAM: "observe"}

_SAMPLED = 1.0
"""Seconds between two looks at the gauges that Ray is told of: it cannot ask."""

Record = Callable[[float], None]
Read = Callable[[], float]


class _Series:
    """Observations of one histogram with one set of labels."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count it."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Observations up to each bound, and the sum of all."""
        with self._lock:
            counts, total = [*self._counts], self._sum
        names = map(floatToGoString, (*self._bounds, float("inf")))
        return list(zip(names, map(float, accumulate(counts)), strict=True)), total


class _Histogram(Collector):
    """A histogram family. prometheus_client's own walks the buckets and takes two locks, at three times the cost."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def labels(self, *labels: str) -> _Series:
        """The series of these labels."""
        with self._lock:
            return self._series.setdefault(labels, _Series(self._metric.buckets))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What is exposed."""
        family = HistogramMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        with self._lock:
            found = [*self._series.items()]
        for labels, series in found:
            family.add_metric(labels, *series.read())
        yield family


class PrometheusMeter:
    """Keeps all families in a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._families = {metric.name: _family(metric, self._registry) for metric in METRICS}
        # Looking a child up by labels costs more than recording; each is looked up once.
        self._record: dict[tuple[str, ...], Record] = {}
        self._reads: dict[tuple[str, ...], list[Read]] = defaultdict(list)

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Observe, add or set, by the metric's kind."""
        key = (metric.name, *labels)
        record = self._record.get(key)
        if record is None:
            record = self._record[key] = self.recorder(metric, *labels)
        record(value)

    def recorder(self, metric: Metric, *labels: str) -> Record:
        """`record` with the labels looked up."""
        record: Record = getattr(self._families[metric.name].labels(*labels), _RECORD[metric.kind])
        return record

    def watch(self, metric: Metric, read: Read, *labels: str) -> None:
        """Have a gauge read at each exposition."""
        reads = self._reads[(metric.name, *labels)]
        reads.append(read)
        gauge = self._families[metric.name].labels(*labels)
        gauge.set_function(lambda: sum(read() for read in reads))

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


def _family(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind is MetricKind.HISTOGRAM:
        return _Histogram(metric, registry)
    family = Counter if metric.kind is MetricKind.COUNTER else Gauge
    return family(metric.name, metric.help, metric.labels, registry=registry)


class RayMeter:
    """Records through Ray, inside a Ray worker."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._families = {metric.name: _ray_family(metric, metrics) for metric in METRICS}
        self._watched: dict[tuple[str, ...], tuple[Record, tuple[Read, ...]]] = {}
        self._sampler: threading.Thread | None = None

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Observe, add or set, by the metric's kind."""
        self.recorder(metric, *labels)(value)

    def recorder(self, metric: Metric, *labels: str) -> Record:
        """`record` with the tags made."""
        write = getattr(self._families[metric.name], _RECORD[metric.kind])
        tags = dict(zip(metric.labels, labels, strict=True))
        return partial(_add, write, tags) if metric.kind is MetricKind.COUNTER else partial(write, tags=tags)

    def watch(self, metric: Metric, read: Read, *labels: str) -> None:
        """Have a gauge written every `_SAMPLED` seconds, by a thread of its own."""
        key = (metric.name, *labels)
        record, reads = self._watched.get(key) or (self.recorder(metric, *labels), ())
        self._watched = {**self._watched, key: (record, (*reads, read))}  # the sampler may be half through the old one
        if not self._sampler:
            self._sampler = threading.Thread(target=self._sample, name="gauges", daemon=True)
            self._sampler.start()

    def _sample(self) -> None:
        while True:
            for record, reads in self._watched.values():
                record(sum(read() for read in reads))
            time.sleep(_SAMPLED)

    def exposition(self) -> bytes:
        """Nothing: Ray exposes them, on each node's metrics port."""
        return b"# Metrics are exported by Ray.\n"


def _add(write: Callable[..., None], tags: dict[str, str], value: float) -> None:
    if value:  # Ray refuses to add nothing
        write(value, tags=tags)


def _ray_family(metric: Metric, metrics: Any) -> Any:
    if metric.kind is MetricKind.HISTOGRAM:
        return metrics.Histogram(metric.name, metric.help, boundaries=list(metric.buckets), tag_keys=metric.labels)
    family = metrics.Counter if metric.kind is MetricKind.COUNTER else metrics.Gauge
    return family(metric.name, metric.help, tag_keys=metric.labels)


def make_meter(settings: Settings) -> Meter:
    """The meter of a Ray replica."""
    return RayMeter() if settings.ray_metrics else PrometheusMeter()
