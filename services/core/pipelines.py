"""What a task does with a request, as the core asks it to. Those that make items as they go are in `conversing`."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from services.core.engine import AnyGenerator
from services.core.queueing import Item
from services.core.schema import Response


class Pipeline(Protocol):
    """What a task does with a request, in three steps. Only ``run`` needs the engine, and only it runs on a lane.

    One object serves one loaded model and all its requests, so it keeps no state between calls.
    """

    def prepare(self, request: Any) -> Sequence[Item]:
        """Turn a request into items. Raises ServingError for input the model cannot take."""

    def run(self, payloads: Sequence[Any]) -> Sequence[Any]:
        """Run a batch: one output per payload, whatever requests they came from."""

    def finish(self, request: Any, items: Sequence[Item], outputs: Sequence[Any]) -> Response:
        """Make the answer from a request's own outputs, in the order of its items."""

    def close(self) -> None:
        """Free the engine."""


class StreamingPipeline(Pipeline, Protocol):
    """One whose answers may also be had in parts."""

    def part(self, request: Any, items: Sequence[Item], index: int, output: Any) -> Response:
        """Make the part of an answer that is an output of one item."""


@runtime_checkable
class GeneratingPipeline(Protocol):
    """One whose items are `Generation` records: outputs are what their readers say, lists of it in `finish`.

    It has no ``run``; the service generates in its place. The rest is that of a `StreamingPipeline`.
    """

    @property
    def generator(self) -> AnyGenerator:
        """What continues the sequences."""
