"""What is measured: every metric's name, labels and buckets, defined once, and the helpers that record them.

The contract is the names below; where the numbers go is a `Meter`: prometheus_client in one process, Ray's own
metrics in a Ray replica (which Ray scrapes; prometheus_client counters there it would not). Base units, seconds.
Labels are bounded: no user text, no client-given names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple, Protocol

from services.core.errors import Code

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class MetricKind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric family."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_MODEL = ("task", "model")

REQUEST_SECONDS = Metric(
    "chorale_request_seconds",
    MetricKind.HISTOGRAM,
    "Time from decoded request to answer; counts requests by outcome.",
    ("task", "model", "protocol", "outcome"),
    LATENCY_BUCKETS,
)
INFLIGHT = Metric("chorale_inflight", MetricKind.GAUGE, "Requests being answered.", ("task", "protocol"))
QUEUE_SECONDS = Metric(
    "chorale_queue_seconds",
    MetricKind.HISTOGRAM,
    "Time an item waited for a lane, or a sequence for its first step.",
    _MODEL,
    LATENCY_BUCKETS,
)
BATCH_SIZE = Metric(
    "chorale_batch_size", MetricKind.HISTOGRAM, "Items in one engine run.", _MODEL, (1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_COST = Metric(
    "chorale_batch_cost",
    MetricKind.HISTOGRAM,
    "Cost of one engine run: tokens, audio seconds or characters, by task.",
    _MODEL,
    (8, 32, 128, 512, 2048, 8192, 32768),
)
BATCH_FILL = Metric(
    "chorale_batch_fill_ratio",
    MetricKind.HISTOGRAM,
    "Share of a padded batch that is real work.",
    _MODEL,
    (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
QUEUE_DEPTH = Metric("chorale_queue_depth", MetricKind.GAUGE, "Items waiting for a lane.", _MODEL)
TOKENS = Metric("chorale_tokens_total", MetricKind.COUNTER, "Model tokens computed.", (*_MODEL, "kind"))
RUNNING = Metric("chorale_running_sequences", MetricKind.GAUGE, "Sequences being generated.", _MODEL)
CACHE_BLOCKS = Metric("chorale_cache_blocks", MetricKind.GAUGE, "Blocks of the KV cache that sequences hold.", _MODEL)
TIME_TO_FIRST_TOKEN = Metric(
    "chorale_time_to_first_token_seconds",
    MetricKind.HISTOGRAM,
    "Time from a sequence's submission to its first token.",
    _MODEL,
    LATENCY_BUCKETS,
)
INTER_TOKEN = Metric(
    "chorale_inter_token_seconds",
    MetricKind.HISTOGRAM,
    "Time between two tokens of a sequence.",
    _MODEL,
    LATENCY_BUCKETS,
)
AUDIO_SECONDS = Metric(
    "chorale_audio_seconds_total",
    MetricKind.COUNTER,
    "Seconds of sound heard (in) or made (out).",
    (*_MODEL, "direction"),
)
REALTIME_FACTOR = Metric(
    "chorale_realtime_factor",
    MetricKind.HISTOGRAM,
    "Time a whole answer took, per second of its sound.",
    _MODEL,
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
MODEL_LOAD_SECONDS = Metric("chorale_model_load_seconds", MetricKind.GAUGE, "Time it took to load a model.", _MODEL)

METRICS = (
    REQUEST_SECONDS,
    INFLIGHT,
    QUEUE_SECONDS,
    BATCH_SIZE,
    BATCH_COST,
    BATCH_FILL,
    QUEUE_DEPTH,
    TOKENS,
    RUNNING,
    CACHE_BLOCKS,
    TIME_TO_FIRST_TOKEN,
    INTER_TOKEN,
    AUDIO_SECONDS,
    REALTIME_FACTOR,
    MODEL_LOAD_SECONDS,
)

OUTCOMES = {
    Code.INVALID_ARGUMENT: "invalid",
    Code.UNAUTHENTICATED: "rejected",
    Code.PERMISSION_DENIED: "rejected",
    Code.NOT_FOUND: "invalid",
    Code.DEADLINE_EXCEEDED: "deadline",
    Code.CONFLICT: "invalid",
    Code.TOO_LARGE: "invalid",
    Code.UNSUPPORTED_MEDIA: "invalid",
    Code.OVERLOADED: "rejected",
    Code.CANCELLED: "cancelled",
    Code.INTERNAL: "internal",
    Code.UNAVAILABLE: "backend",
}


class Meter(Protocol):
    """Where numbers go. Called from the event loop and from lane threads."""

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Observe (histogram), add (counter) or set (gauge)."""

    def recorder(self, metric: Metric, *labels: str) -> Callable[[float], None]:
        """What `record` does for these labels: to be kept where that is done often."""

    def watch(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Have a gauge read when it is looked at, instead of set when it changes; several for one add up."""

    def exposition(self) -> bytes:
        """What ``/metrics`` answers, in the Prometheus text format."""


class BatchKey(NamedTuple):
    """Items with the same key may share an engine run."""

    task: str
    model: str
    verb: str


class _Recorders:
    """Those of one key."""

    __slots__ = ("cost", "fill", "size", "wait")

    def __init__(self, meter: Meter, key: BatchKey) -> None:
        self.wait = meter.recorder(QUEUE_SECONDS, key.task, key.model)
        self.size = meter.recorder(BATCH_SIZE, key.task, key.model)
        self.cost = meter.recorder(BATCH_COST, key.task, key.model)
        self.fill = meter.recorder(BATCH_FILL, key.task, key.model)


class BatchTelemetry:
    """Records what the batcher reports; called on lane threads, where every microsecond delays the event loop."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._recorders: dict[BatchKey, _Recorders] = {}

    def ran(self, key: BatchKey, waits: Sequence[float], cost: int, padded_cost: int) -> None:
        """An engine run ended: how long its items had waited, and what it cost."""
        recorders = self._recorders.get(key)
        if recorders is None:
            recorders = self._recorders[key] = _Recorders(self._meter, key)
        for seconds in waits:
            recorders.wait(seconds)
        recorders.size(len(waits))
        recorders.cost(cost)
        recorders.fill(cost / padded_cost if padded_cost else 1.0)


class GenerationTelemetry:
    """Records what a `ContinuousBatcher` reports."""

    def __init__(self, meter: Meter) -> None:
        self._recorder = cache(lambda metric, key: meter.recorder(metric, key.task, key.model))

    def stepped(self, key: BatchKey, sequences: int, tokens: int) -> None:
        """A step computes so many tokens of so many sequences."""
        self._recorder(BATCH_SIZE, key)(sequences)
        self._recorder(BATCH_COST, key)(tokens)

    def joined(self, key: BatchKey, waited: float) -> None:
        """A sequence is in its first step."""
        self._recorder(QUEUE_SECONDS, key)(waited)

    def first(self, key: BatchKey, seconds: float) -> None:
        """A sequence has its first token."""
        self._recorder(TIME_TO_FIRST_TOKEN, key)(seconds)

    def next(self, key: BatchKey, seconds: float) -> None:
        """A sequence has another one."""
        self._recorder(INTER_TOKEN, key)(seconds)
