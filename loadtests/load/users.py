"""Locust users made from Task records: each calls one method with the task's examples in turn.

Clients are those of `services.clients`, which send nothing twice here: a retry would hide an error. To add a way of
calling, derive from `TaskUser` and say how; calls that are answered in pieces derive from `StreamUser`.
"""

import random
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any, ClassVar

import gevent
from locust import User, task

from services.clients import NEVER, Code, GrpcClient, RestClient, ServingError
from services.core.imports import load
from services.core.schema import Request
from services.core.task import Kind, Method, Task, Timed


class TaskUser(User):  # type: ignore[misc]  # locust has no types
    """Calls a method again and again; derive and say how."""

    abstract = True
    protocol: ClassVar[str]
    task_record: ClassVar[Task]
    method: ClassVar[Method]
    timeout: ClassVar[float] = 10.0
    period: ClassVar[float] = 0.0
    """Seconds between two calls of a user; none, and it calls again at once."""
    _client: RestClient | GrpcClient

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._examples = cycle(self.examples())

    def examples(self) -> Sequence[Any]:
        """What is exchanged in turn."""
        return examples_of(self.task_record, self.method)

    def on_start(self) -> None:
        """Wait a part of the period, so that users do not call in step."""
        gevent.sleep(random.uniform(0.0, self.period))  # noqa: S311
        self._due = time.perf_counter()

    def wait_time(self) -> float:
        """What is left of the period. Who is late calls at once, but makes up for no more than one period."""
        # Locust's constant_pacing counts from when users are made, all at once: they would call in step for ever.
        late = time.perf_counter() - (self._due + self.period)
        self._due += self.period * (1 + (late // self.period if late > self.period > 0 else 0))
        return max(0.0, self._due - time.perf_counter())

    @property
    def name(self) -> str:
        """What the report calls these calls."""
        return f"{self.task_record.name}/{self.method.verb}"

    @abstractmethod
    def exchange(self, example: Any) -> object:
        """One call, whole; raises ServingError."""

    @task  # type: ignore[untyped-decorator]
    def call(self) -> None:
        """One call, and what became of it."""
        started, failure = time.perf_counter(), None
        try:
            self.exchange(next(self._examples))
        except ServingError as error:
            failure = error
        self.report(self.name, time.perf_counter() - started, failure)

    def report(self, name: str, seconds: float, failure: Exception | None = None) -> None:
        """Tell locust."""
        self.environment.events.request.fire(
            request_type=self.protocol,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=failure,
            context={},
        )


class RestUser(TaskUser):
    """Unary calls over REST."""

    abstract = True
    protocol = "rest"

    def on_start(self) -> None:
        """Connect."""
        super().on_start()
        self._client = RestClient(self.host, timeout=self.timeout, retry=NEVER)

    def on_stop(self) -> None:
        """Hang up."""
        self._client.close()

    def exchange(self, example: Any) -> object:
        """One call."""
        return self._client.call(self.method, example)


class GrpcUser(TaskUser):
    """Unary calls over gRPC; the server's address is `host`."""

    abstract = True
    protocol = "grpc"

    def on_start(self) -> None:
        """Connect."""
        super().on_start()
        self._client = GrpcClient(self.host, tasks=[self.task_record], timeout=self.timeout, retry=NEVER)

    def on_stop(self) -> None:
        """Hang up."""
        self._client.close()

    def exchange(self, example: Any) -> object:
        """One call."""
        return self._client.call(self.method, example)


class StreamUser(TaskUser):
    """Calls that are answered in pieces.

    Reports two things: ``<name>`` is the whole call, ``<name> first`` the time to its first piece.
    """

    abstract = True

    @abstractmethod
    def open(self, request: Request) -> Iterator[object]:
        """Start one call; its pieces as they come."""

    def exchange(self, example: Request) -> object:
        """One call, to its end."""
        started, pieces = time.perf_counter(), 0
        for _ in self.open(example):
            if pieces == 0:
                self.report(f"{self.name} first", time.perf_counter() - started)
            pieces += 1
        return pieces


class LiveUser(TaskUser):
    """Live calls at the pace of their method's example.

    Reports three things: ``<name>`` is the whole call, ``<name> first`` the time from its beginning to its first
    answer, ``<name> final`` the time from its last request to its last answer.
    """

    abstract = True

    def examples(self) -> Sequence[Any]:
        """The one there is, as a list of `Timed` requests."""
        return [list(load(self.method.live_example or "")())]

    def exchange(self, example: Sequence[Timed]) -> object:
        """One call, to its end; raises ServingError also where nothing came after the last request."""
        started, limit = time.perf_counter(), example[-1].due + self.timeout
        answers = self._client.converse(self.method, paced(example), timeout=limit)
        answered = [time.perf_counter() - started for _ in answers]
        if not answered or answered[-1] < example[-1].due:
            raise ServingError(Code.INTERNAL, "No answer came after the last request.")
        self.report(f"{self.name} first", answered[0])
        self.report(f"{self.name} final", answered[-1] - example[-1].due)
        return answered


class LiveRestUser(LiveUser, RestUser):
    """Live calls over WebSockets."""

    abstract = True
    protocol = "rest live"


class LiveGrpcUser(LiveUser, GrpcUser):
    """Live calls over gRPC."""

    abstract = True
    protocol = "grpc live"


def paced(requests: Iterable[Timed]) -> Iterator[Request]:
    """Requests when they are due, however long the others took."""
    started = time.perf_counter()
    for due, request in requests:
        gevent.sleep(max(0.0, started + due - time.perf_counter()))
        yield request


def examples_of(task: Task, method: Method) -> list[Request]:
    """The examples a method takes."""
    return [example for example in task.examples if isinstance(example, method.request)]


_BASES: dict[str, type[TaskUser]] = {base.protocol: base for base in (RestUser, GrpcUser, LiveRestUser, LiveGrpcUser)}


def user_class(task_record: Task, method: Method, calls: str, **fields: Any) -> type[TaskUser]:
    """A user of one method; ``fields`` are those of `TaskUser` and locust's own: host, weight, fixed_count."""
    base = _BASES[calls]
    name = f"{method.verb}{base.__name__}"
    return type(name, (base,), {"abstract": False, "task_record": task_record, "method": method, **fields})


def methods_of(task_record: Task, *, live: bool) -> list[Method]:
    """The methods there are users for."""
    if live:
        return [method for method in task_record.methods if method.live_example]
    return [method for method in task_record.methods if method.kind is Kind.UNARY and examples_of(task_record, method)]
