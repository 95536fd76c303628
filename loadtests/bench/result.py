"""What a run measured, as it is recorded; and medians over its rounds.

Knows no process and no file format beyond JSON.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import TypeAdapter

LIMIT = "engine limit"


@dataclass(frozen=True)
class Window:
    """One measured window: one contender, one task, one number in flight.

    Args:
        round: which pass over all contenders.
        series: contender and protocol, as the tables name it.
        requests: answers received; all of them were checked.
        wrong: answers that were not the right ones, or no answers.
        first_wrong: what was wrong with the first of them.
        seconds: from the first request to the last answer.
        cpu_ms: CPU per request over the whole server process tree.
        generator_cores: CPU the load generator used, in cores; not part of ``cpu_ms``.
        other_cores: CPU that neither server nor generator used: what else ran on the machine.
    """

    round: int
    series: str
    task: str
    in_flight: int
    requests: int
    wrong: int
    first_wrong: str | None
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    generator_cores: float = 0.0
    other_cores: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers per second (wrong ones of the warm-up are taken off, too)."""
        return max(0, self.requests - self.wrong) / self.seconds


@dataclass(frozen=True)
class Stack:
    """One start of a server: how long it took, and what it costs when nobody calls."""

    round: int
    contender: str
    tasks: tuple[str, ...]
    ready_seconds: float
    idle_cores: float
    pss_mib: float
    processes: tuple[str, ...]
    torch_in: tuple[str, ...]
    """Processes that have libtorch mapped."""


@dataclass(frozen=True)
class Figure:
    """One figure that must be reached.

    Args:
        at_least: more is better; else less is.
    """

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Result:
    """One run."""

    machine: dict[str, str]
    plan: dict[str, str]
    windows: tuple[Window, ...]
    stacks: tuple[Stack, ...]
    figures: tuple[Figure, ...]

    def to_json(self) -> bytes:
        """The recorded form; `read` is its inverse."""
        return _ADAPTER.dump_json(self, indent=1)

    @property
    def wrong(self) -> int:
        """Wrong answers in the whole run."""
        return sum(window.wrong for window in self.windows)


@dataclass(frozen=True)
class Spread:
    """Median, least and most over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


def spread(windows: Sequence[Window], value: Callable[[Window], float]) -> Spread:
    """The spread of one quantity over the rounds of one series."""
    return Spread.of([value(window) for window in windows])


def select(windows: Sequence[Window], series: str, task: str, in_flight: int) -> list[Window]:
    """The rounds of one series."""
    return [w for w in windows if (w.series, w.task, w.in_flight) == (series, task, in_flight)]


def ratios(windows: Sequence[Window], ours: str, theirs: str, task: str, in_flight: int) -> list[float]:
    """Requests per second of one series divided by another's, in each round that has both."""
    rates = {window.round: window.rate for window in select(windows, theirs, task, in_flight)}
    rounds = [window for window in select(windows, ours, task, in_flight) if rates.get(window.round)]
    return [window.rate / rates[window.round] for window in rounds]


def read(data: bytes) -> Result:
    """A recorded result."""
    return _ADAPTER.validate_json(data)


_ADAPTER = TypeAdapter(Result)
