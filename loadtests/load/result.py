"""What a load test found. Knows nothing of locust, which changes the process that imports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What became of some calls; times in milliseconds."""

    name: str
    protocol: str
    calls: int
    errors: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Second:
    """One second of the test, over all calls: its end, calls, errors, and times in milliseconds."""

    at: float
    rate: float
    errors: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class LoadResult:
    """What a load test found."""

    total: Seen
    parts: tuple[Seen, ...]
    seconds: tuple[Second, ...]
