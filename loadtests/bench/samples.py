"""Requests, and the answers they must get.

An answer is reduced to a pair: the text and 0 for echo, the best label and its score for classification. So both
tasks, both protocols and the REST dialects of Chorale and its peers are checked by one comparison. Knows no connection
and no server.
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
class Dialect:
    """How a REST API writes one text, and one answer.

    Args:
        request: the body for a text, not yet encoded.
        result: from the decoded body to the result as Chorale writes it.
    """

    request: Callable[[str], Any]
    result: Callable[[Any], Any]


def _only(values: Any) -> Any:
    (value,) = values
    return value


def _open_inference_request(text: str) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}


def _open_inference_result(body: Any) -> dict[str, Any]:
    columns = {output["name"]: output["data"] for output in body["outputs"]}
    pairs = zip(columns["label"], columns["score"], strict=True)
    return {"labels": [{"label": label, "score": score} for label, score in pairs]}


DIALECTS = {
    "chorale": Dialect(lambda text: {"text": text}, lambda body: _only(body["results"])),
    "object": Dialect(lambda text: {"text": text}, lambda body: body),
    "list": Dialect(lambda text: {"texts": [text]}, _only),
    "open-inference": Dialect(_open_inference_request, _open_inference_result),
}
"""Chorale's; one object for one text; a list for a list; Open Inference Protocol v2 (Triton, MLServer)."""


@dataclass(frozen=True)
class Wire:
    """How a task's requests and answers look on both protocols."""

    task: Task
    json_answer: Callable[[Any], Answer]
    """From the result of a decoded body."""
    message_answer: Callable[[Any], Answer]
    """From the message's first result."""
    dialect: Dialect = DIALECTS["chorale"]

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
        return json.dumps(self.dialect.request(sample.text), ensure_ascii=False).encode()

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


def wire(task: str, dialect: str = "chorale") -> Wire:
    """How ``echo`` or ``classification`` looks on the wire, in one of `DIALECTS`."""
    (found,) = discover(only=(task,))
    return Wire(found, *_READERS[task], DIALECTS[dialect])


def wrong_body(wire: Wire, sample: Sample, body: bytes) -> str | None:
    """What is wrong with a REST answer, or None."""
    try:
        return _difference(sample, wire.json_answer(wire.dialect.result(json.loads(body))))
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
