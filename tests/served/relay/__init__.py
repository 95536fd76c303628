"""A task for tests: bytes in, their sizes and sums out, one by one while they come."""

import sys
import threading
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pydantic import Field

from services.core.catalog import ModelSpec
from services.core.conversing import Submit
from services.core.queueing import Item
from services.core.schema import Bytes, Record, Request, Response, Text
from services.core.task import Kind, Method, Task
from services.pb.chorale.common.v1 import common_pb2


class RelayRequest(Request):
    """Bytes, and some of each kind of field."""

    data: Bytes = b""
    words: tuple[Text, ...] = ()
    times: int = Field(default=1, ge=1)
    factor: float | None = None
    loud: bool = False
    tone: Literal["plain", "soft"] = "plain"


class RelayPart(Response):
    """What came."""

    size: int
    sum: int
    words: tuple[str, ...] = ()
    factor: float = 0.0
    loud: bool = False
    tone: str = ""
    mapped: bool = False


class RelayResponse(Response):
    """All that came."""

    parts: tuple[RelayPart, ...]


class RelayPipeline:
    """Waits at ``wait`` until the gate is open, and fails on ``boom``."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Event()
        self.ran = 0
        self.talks = 0

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Any) -> Self:
        return cls()

    async def converse(
        self, first: RelayRequest, requests: AsyncGenerator[RelayRequest], submit: Submit
    ) -> AsyncGenerator[Response]:
        self.talks += 1
        try:
            request: RelayRequest | None = first
            while request is not None:
                for _ in range(request.times):
                    yield await submit(Item(request, 1))
                request = await anext(requests, None)
        finally:
            self.talks -= 1

    def whole(self, request: RelayRequest, parts: Sequence[RelayPart]) -> RelayResponse:
        return RelayResponse(model="relay@1", parts=tuple(parts))

    def warm_up(self) -> None:
        pass

    def run(self, payloads: Sequence[RelayRequest]) -> Sequence[RelayPart]:
        return [self._answer(request) for request in payloads]

    def _answer(self, request: RelayRequest) -> RelayPart:
        if request.data == b"boom":
            raise RuntimeError("boom")
        if request.data == b"wait":
            self.began.set()
            assert self.gate.wait(20)
        self.ran += 1
        said = request.model_dump(exclude={"data", "times", "model"}, exclude_none=True)
        mapped = isinstance(request.data, memoryview)
        return RelayPart(model="relay@1", size=len(request.data), sum=zlib.crc32(request.data), mapped=mapped, **said)

    def close(self) -> None:
        self.gate.set()


class RelayTask(Task):
    """Its messages are made here, not from a proto."""

    @property
    def protobuf(self) -> str:
        return _messages()


_PIPELINE = "tests.served.relay:RelayPipeline"
RELAY = Method("Relay", RelayRequest, RelayResponse, _PIPELINE)
STREAM_RELAY = Method("StreamRelay", RelayRequest, RelayPart, _PIPELINE, Kind.BIDI, idempotent=False)
TASK = RelayTask(
    "relay",
    (RELAY, STREAM_RELAY),
    (RelayRequest(data=b"hi"),),
    grpc_port=9098,
    opt_in=True,
    dialects=("tests.served.relay.dialect:TOLD",),
)

_FIELDS: dict[type[Record], dict[str, str]] = {
    RelayRequest: {"model": "string", "data": "bytes", "words": "string*", "times": "int32?", "factor": "double?"}
    | {"loud": "bool", "tone": "string?"},
    RelayPart: {"model": "string", "usage": ".chorale.common.v1.Usage", "size": "int64", "sum": "int64"}
    | {"words": "string*", "factor": "double", "loud": "bool", "tone": "string", "mapped": "bool"},
    RelayResponse: {"model": "string", "usage": ".chorale.common.v1.Usage", "parts": ".chorale.relay.v1.RelayPart*"},
}


def _messages() -> str:
    """The module of the messages; made once."""
    name = "tests.relay_pb2"
    if name not in sys.modules:
        file = descriptor_pb2.FileDescriptorProto(name="relay.proto", package="chorale.relay.v1", syntax="proto3")
        file.dependency.append(common_pb2.DESCRIPTOR.name)
        for record, fields in _FIELDS.items():
            message = file.message_type.add(name=record.__name__)
            for number, (field, kind) in enumerate(fields.items(), 1):
                _add_field(message, field, number, kind)
        pool = descriptor_pool.Default()
        pool.Add(file)
        module: Any = ModuleType(name)
        for record in _FIELDS:
            found = pool.FindMessageTypeByName(f"{file.package}.{record.__name__}")
            setattr(module, record.__name__, message_factory.GetMessageClass(found))
        sys.modules[name] = module
    return name


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    shape = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number)
    field.label = shape.LABEL_REPEATED if kind.endswith("*") else shape.LABEL_OPTIONAL
    if kind.endswith("?"):
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    bare = kind.rstrip("*?")
    if bare.startswith("."):
        field.type, field.type_name = shape.TYPE_MESSAGE, bare
    else:
        field.type = shape.Type.Value(f"TYPE_{bare.upper()}")
