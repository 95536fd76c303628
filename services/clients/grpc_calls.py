"""What both gRPC clients share: all but the waiting."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from services.clients.calls import NEVER, Call, CallOptions, NeverBegunError, Retry, require
from services.core.errors import Code, ServingError
from services.core.schema import Request, bytes_field
from services.core.task import AnswerT_co, Method, Task, discover
from services.edges import protobuf
from services.edges.status import read_status

ADDRESS = "127.0.0.1:9000"
"""Where ``chorale serve`` has gRPC unless told otherwise."""

_NEVER_CONNECTED = "failed to connect"
"""How grpc begins to say that no connection was made; such a call cannot have reached a server."""

_Channel = TypeVar("_Channel", grpc.Channel, grpc.aio.Channel)


@dataclass(frozen=True)
class Wire:
    """A method on the wire."""

    method: Method
    rpc: str
    request: type[Message]
    response: type[Message]

    def message(self, request: Request) -> bytes:
        """A request as it is sent."""
        require(self.method, request)
        name = bytes_field(type(request))
        if name and isinstance(view := getattr(request, name), memoryview):
            request = request.model_copy(update={name: bytes(view)})  # protobuf takes no other
        return protobuf.encode(request, self.request)

    def answer(self, method: Method[AnswerT_co], data: bytes) -> AnswerT_co:
        """An answer as it came."""
        return protobuf.read(data, self.response, method.response)


class GrpcCalls(ABC, Generic[_Channel]):
    """What both clients share: all but the waiting.

    Args:
        address: host and port of the server, or of a task's own lane.
        tasks: whose methods are called; by default those of ``services.tasks``.
        credentials: for TLS; by default plaintext.
        timeout: seconds a call may take, all its tries together.
        retry: when calls are sent again.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        tasks: Sequence[Task] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._retry = retry or Retry()
        known = discover(opt_in=True) if tasks is None else tasks
        self._tasks = {method: task for task in known for method in task.methods}
        self._wires: dict[Method, Wire] = {}
        self._channel: _Channel = self._connect(credentials)

    @abstractmethod
    def _connect(self, credentials: grpc.ChannelCredentials | None) -> _Channel:
        """A channel to the address."""

    def _told(self, error: Any) -> ServingError:
        """What became of a try; the same words as over REST where nobody was there to take it."""
        details = error.details() or ""
        if error.code() is not grpc.StatusCode.UNAVAILABLE or not details.startswith(_NEVER_CONNECTED):
            return read_status(error)
        found = ServingError(Code.UNAVAILABLE, f"No server answers at {self.address}; is it running?")
        found.__cause__ = NeverBegunError(details)
        return found

    def _open(self, method: Method, options: CallOptions) -> Call:
        return Call(self._retry, self._timeout, options, idempotent=method.idempotent)

    def _open_live(self, method: Method, options: CallOptions) -> Call:
        """A call that has all the time there is, and is not sent again."""
        return Call(NEVER, math.inf, options, idempotent=method.idempotent)

    def _wire(self, method: Method) -> Wire:
        if method not in self._wires:
            if not (task := self._tasks.get(method)):
                raise ValueError(f"no task here has {method.verb}; give the client tasks=")
            messages = (protobuf.message_class(task, record) for record in (method.request, method.response))
            self._wires[method] = Wire(method, task.rpc(method), *messages)
        return self._wires[method]
