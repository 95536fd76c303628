"""gRPC clients. Records go out and come back as the messages of their task."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from services.clients.calls import Call, CallOptions, NeverBegunError, Retry, require
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import AnswerT_co, Method, Task, discover
from services.edges import protobuf
from services.edges.status import read_status

ADDRESS = "127.0.0.1:9000"
"""Where ``chorale serve`` has gRPC unless told otherwise."""

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each client: replicas share them out by connection
    ("grpc.enable_retries", 0),  # ours know what the server asks for
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A server that comes back is found again within a second; by default that may take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

_NEVER_CONNECTED = "failed to connect"
"""How grpc begins to say that no connection was made; such a call cannot have reached a server."""

_Channel = TypeVar("_Channel", grpc.Channel, grpc.aio.Channel)


@dataclass(frozen=True)
class _Wire:
    """A method on the wire."""

    method: Method
    rpc: str
    request: type[Message]
    response: type[Message]

    def message(self, request: Request) -> bytes:
        require(self.method, request)
        return protobuf.encode(request, self.request)


class _Grpc(ABC, Generic[_Channel]):
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
        self._wires: dict[Method, _Wire] = {}
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

    def _wire(self, method: Method) -> _Wire:
        if method not in self._wires:
            if not (task := self._tasks.get(method)):
                raise ValueError(f"no task here has {method.verb}; give the client tasks=")
            messages = (protobuf.message_class(task, record) for record in (method.request, method.response))
            self._wires[method] = _Wire(method, task.rpc(method), *messages)
        return self._wires[method]


class GrpcClient(_Grpc[grpc.Channel]):
    """Calls over gRPC; threads may share one. A context manager; arguments are those of `_Grpc`."""

    def _connect(self, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
        if credentials:
            return grpc.secure_channel(self.address, credentials, _OPTIONS)
        return grpc.insecure_channel(self.address, _OPTIONS)

    def call(self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]) -> AnswerT_co:
        """The answer to ``request``.

        Raises:
            ServingError: the server's; UNAVAILABLE or DEADLINE_EXCEEDED when none answered.
        """
        wire, call = self._wire(method), self._open(method, options)
        send, data = self._channel.unary_unary(wire.rpc, bytes, bytes), wire.message(request)
        while True:
            try:
                answer = send(data, timeout=call.remaining(), metadata=tuple(call.headers().items()))
            except grpc.RpcError as error:
                time.sleep(call.pause(self._told(error)))
            else:
                return protobuf.read(answer, wire.response, method.response)

    def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> Iterator[AnswerT_co]:
        """The parts of the answer to ``request``, as they come; close the iterator to stop them.

        A call that was lost is sent again as long as no part had come. Raises as `call` does.
        """
        wire, call = self._wire(method), self._open(method, options)
        send, data = self._channel.unary_stream(wire.rpc, bytes, bytes), wire.message(request)
        begun = False
        while True:
            answers = send(data, timeout=call.remaining(), metadata=tuple(call.headers().items()))
            try:
                for answer in answers:
                    begun = True
                    yield protobuf.read(answer, wire.response, method.response)
            except grpc.RpcError as error:
                told = self._told(error)
                if begun:
                    raise told from error
                time.sleep(call.pause(told))
            else:
                return
            finally:
                answers.cancel()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncGrpcClient(_Grpc[grpc.aio.Channel]):
    """`GrpcClient` for asyncio; make it inside a running event loop."""

    def _connect(self, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if credentials:
            return grpc.aio.secure_channel(self.address, credentials, _OPTIONS)
        return grpc.aio.insecure_channel(self.address, _OPTIONS)

    async def call(self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]) -> AnswerT_co:
        """As `GrpcClient.call`."""
        wire, call = self._wire(method), self._open(method, options)
        send, data = self._channel.unary_unary(wire.rpc, bytes, bytes), wire.message(request)
        while True:
            try:
                answer = await send(data, timeout=call.remaining(), metadata=tuple(call.headers().items()))
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(call.pause(self._told(error)))
            else:
                return protobuf.read(answer, wire.response, method.response)

    async def stream(
        self, method: Method[AnswerT_co], request: Request, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[AnswerT_co]:
        """As `GrpcClient.stream`."""
        wire, call = self._wire(method), self._open(method, options)
        send, data = self._channel.unary_stream(wire.rpc, bytes, bytes), wire.message(request)
        begun = False
        while True:
            answers = send(data, timeout=call.remaining(), metadata=tuple(call.headers().items()))
            try:
                async for answer in answers:
                    begun = True
                    yield protobuf.read(answer, wire.response, method.response)
            except grpc.aio.AioRpcError as error:
                told = self._told(error)
                if begun:
                    raise told from error
                await asyncio.sleep(call.pause(told))
            else:
                return
            finally:
                answers.cancel()

    async def close(self) -> None:
        """Close the connection, once calls under way have ended or a second has passed."""
        await self._channel.close(1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
