"""Requests, and the answers they must get.

An answer is reduced to a pair: the text and 0 for echo, the best label and its score for classification. So both
tasks and both protocols are checked by one comparison. Knows no connection and no server.
"""

import csv
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from pydantic import TypeAdapter

from services.core.task import Task, discover

Answer = tuple[str, float]

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sample:
    """One request and its right answer."""

    text: str
    expected: Answer


@dataclass(frozen=True)
class Wire:
    """How a task's requests and answers look on both protocols."""

    task: Task
    json_answer: Callable[[Any], Answer]
    """From the decoded body's first result."""
    message_answer: Callable[[Any], Answer]
    """From the message's first result."""

    @property
    def route(self) -> str:
        """REST path."""
        return self.task.methods[0].route

    @property
    def rpc(self) -> str:
        """GRPC path."""
        return self.task.rpc(self.task.methods[0])

    def body(self, sample: Sample) -> bytes:
        """The REST request's body."""
        return json.dumps({"text": sample.text}, ensure_ascii=False).encode()

    def message(self, sample: Sample) -> bytes:
        """The gRPC request's message."""
        return self._class(self.task.methods[0].request)(text=[sample.text]).SerializeToString()

    @property
    def response_class(self) -> type[Message]:
        """The gRPC answer's class."""
        return self._class(self.task.methods[0].response)

    def _class(self, record: type) -> type[Message]:
        found: type[Message] = getattr(importlib.import_module(self.task.protobuf), record.__name__)
        return found


_READERS: dict[str, tuple[Callable[[Any], Answer], Callable[[Any], Answer]]] = {
    "echo": (lambda result: (result["text"], 0.0), lambda result: (result.text, 0.0)),
    "classification": (
        lambda result: (result["labels"][0]["label"], result["labels"][0]["score"]),
        lambda result: (result.labels[0].label, result.labels[0].score),
    ),
}


def wire(task: str) -> Wire:
    """How ``echo`` or ``classification`` looks on the wire."""
    (found,) = discover(only=(task,))
    return Wire(found, *_READERS[task])


def wrong_body(wire: Wire, sample: Sample, body: bytes) -> str | None:
    """What is wrong with a REST answer, or None."""
    try:
        (result,) = json.loads(body)["results"]
        return _difference(sample, wire.json_answer(result))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"unexpected body {body[:200]!r} ({error!r})"


def wrong_message(wire: Wire, sample: Sample, message: Any) -> str | None:
    """What is wrong with a gRPC answer, or None."""
    if len(message.results) != 1:
        return f"{len(message.results)} results for one text"
    try:
        return _difference(sample, wire.message_answer(message.results[0]))
    except IndexError:
        return "a result without labels"


def _difference(sample: Sample, answer: Answer) -> str | None:
    if answer[0] == sample.expected[0] and abs(answer[1] - sample.expected[1]) <= TOLERANCE:
        return None
    return f"{answer} where {sample.expected} is right, for {sample.text!r}"


def read_sentences(file: Path) -> list[str]:
    """The first column of a tab-separated file, without a ``sentence`` header.

    Raises:
        ValueError: there are none.
    """
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, "excel-tab", quoting=csv.QUOTE_NONE)
        texts = [row[0] for row in rows if row and row[0].strip()]
    texts = texts[1:] if texts[:1] in (["sentence"], ["text"]) else texts
    if not texts:
        raise ValueError(f"{file} has no texts")
    return texts


def write_samples(samples: Sequence[Sample], file: Path) -> None:
    """Hand samples to the generator's process."""
    file.write_bytes(_ADAPTER.dump_json(list(samples)))


def read_samples(file: Path) -> list[Sample]:
    """What `write_samples` wrote."""
    return _ADAPTER.validate_json(file.read_bytes())


_ADAPTER = TypeAdapter(list[Sample])
