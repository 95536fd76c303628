"""Locust users made from Task records: each calls one method with the task's examples in turn.

Clients are those of `services.clients`, which send nothing twice here: a retry would hide an error. To add a way of
calling, derive from `TaskUser` and say how; streams and sound derive from `StreamUser`.
"""

import random
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any, ClassVar

import gevent
from locust import User, task

from services.clients import NEVER, GrpcClient, RestClient, ServingError
from services.core.schema import Request
from services.core.task import Kind, Method, Task


class TaskUser(User):  # type: ignore[misc]  # locust has no types
    """Calls a method again and again; derive and say how."""

    abstract = True
    protocol: ClassVar[str]
    task_record: ClassVar[Task]
    method: ClassVar[Method]
    timeout: ClassVar[float] = 10.0
    period: ClassVar[float] = 0.0
    """Seconds between two calls of a user; none, and it calls again at once."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._requests = cycle(examples_of(self.task_record, self.method))

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
    def exchange(self, request: Request) -> object:
        """One call, whole; raises ServingError."""

    @task  # type: ignore[untyped-decorator]
    def call(self) -> None:
        """One call, and what became of it."""
        started, failure = time.perf_counter(), None
        try:
            self.exchange(next(self._requests))
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

    def exchange(self, request: Request) -> object:
        """One call."""
        return self._client.call(self.method, request)


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

    def exchange(self, request: Request) -> object:
        """One call."""
        return self._client.call(self.method, request)


class StreamUser(TaskUser):
    """Calls that are answered in pieces, whether one message was sent or many (server streams, bidi, sound).

    Reports two things: ``<name>`` is the whole call, ``<name> first`` the time to its first piece.
    """

    abstract = True

    @abstractmethod
    def open(self, request: Request) -> Iterator[object]:
        """Start one call; its pieces as they come."""

    def exchange(self, request: Request) -> object:
        """One call, to its end."""
        started, pieces = time.perf_counter(), 0
        for _ in self.open(request):
            if pieces == 0:
                self.report(f"{self.name} first", time.perf_counter() - started)
            pieces += 1
        return pieces


def paced(pieces: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """Pieces no sooner than a microphone would give them: one each ``seconds``, however long the others took."""
    started = time.perf_counter()
    for number, piece in enumerate(pieces):
        gevent.sleep(max(0.0, started + number * seconds - time.perf_counter()))
        yield piece


def examples_of(task: Task, method: Method) -> list[Request]:
    """The examples a method takes."""
    return [example for example in task.examples if isinstance(example, method.request)]


_BASES: dict[str, type[TaskUser]] = {"rest": RestUser, "grpc": GrpcUser}


def user_class(task_record: Task, method: Method, protocol: str, **fields: Any) -> type[TaskUser]:
    """A user of one method; ``fields`` are those of `TaskUser` and locust's own: host, weight."""
    base = _BASES[protocol]
    name = f"{method.verb}{protocol.title()}User"
    return type(name, (base,), {"abstract": False, "task_record": task_record, "method": method, **fields})


def unary_methods(task_record: Task) -> list[Method]:
    """The methods there are users for."""
    return [method for method in task_record.methods if method.kind is Kind.UNARY and examples_of(task_record, method)]
