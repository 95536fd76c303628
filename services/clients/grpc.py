"""gRPC clients. Records go out and come back as the messages of their task."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Self, Unpack

import grpc

from services.clients.calls import CallOptions
from services.clients.grpc_calls import ADDRESS, GrpcCalls, Wire
from services.core.schema import Request
from services.core.task import AnswerT_co, Method

__all__ = ["ADDRESS", "AsyncGrpcClient", "GrpcClient"]

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each client: replicas share them out by connection
    ("grpc.enable_retries", 0),  # ours know what the server asks for
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A server that comes back is found again within a second; by default that may take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class GrpcClient(GrpcCalls[grpc.Channel]):
    """Calls over gRPC; threads may share one. A context manager; arguments are those of `GrpcCalls`."""

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
                return wire.answer(method, answer)

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
                    yield wire.answer(method, answer)
            except grpc.RpcError as error:
                told = self._told(error)
                if begun:
                    raise told from error
                time.sleep(call.pause(told))
            else:
                return
            finally:
                answers.cancel()  # type: ignore[no-untyped-call]

    def converse(
        self, method: Method[AnswerT_co], requests: Iterable[Request], **options: Unpack[CallOptions]
    ) -> Iterator[AnswerT_co]:
        """The answers to ``requests`` while they still come; close the iterator to stop them.

        Requests are asked for on a thread of its own. The call may take as long as the server lets it, unless an
        option says, and is not sent again. Raises as `call` does, and what ``requests`` raise.
        """
        wire, call = self._wire(method), self._open_live(method, options)
        messages = _Messages(wire, requests)
        send = self._channel.stream_stream(wire.rpc, bytes, bytes)
        answers = send(messages, timeout=call.remaining(), metadata=tuple(call.headers().items()))
        try:
            for answer in answers:
                yield wire.answer(method, answer)
        except grpc.RpcError as error:
            raise messages.failed or self._told(error) from error
        finally:
            answers.cancel()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncGrpcClient(GrpcCalls[grpc.aio.Channel]):
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
                return wire.answer(method, answer)

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
                    yield wire.answer(method, answer)
            except grpc.aio.AioRpcError as error:
                told = self._told(error)
                if begun:
                    raise told from error
                await asyncio.sleep(call.pause(told))
            else:
                return
            finally:
                answers.cancel()

    async def converse(
        self, method: Method[AnswerT_co], requests: AsyncIterable[Request], **options: Unpack[CallOptions]
    ) -> AsyncGenerator[AnswerT_co]:
        """As `GrpcClient.converse`."""
        wire, call = self._wire(method), self._open_live(method, options)
        send: Any = self._channel.stream_stream(wire.rpc, bytes, bytes)  # whose stubs require an iterator
        talk = send(timeout=call.remaining(), metadata=tuple(call.headers().items()))
        sending = asyncio.create_task(_send_all(talk, wire, requests))
        try:
            while (answer := await _next(talk, sending)) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                yield wire.answer(method, answer)
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from error
        finally:
            sending.cancel()
            await asyncio.wait((sending,))
            if not sending.cancelled():
                sending.exception()  # seen: the call has ended with another error, or has been left
            talk.cancel()

    async def close(self) -> None:
        """Close the connection, once calls under way have ended or a second has passed."""
        await self._channel.close(1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Messages:
    """Requests as grpc takes them; it would hide what is wrong with them."""

    def __init__(self, wire: Wire, requests: Iterable[Request]) -> None:
        self._wire = wire
        self._requests = iter(requests)
        self.failed: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._wire.message(next(self._requests))
        except StopIteration:
            raise
        except Exception as error:
            self.failed = error
            raise


async def _send_all(talk: Any, wire: Wire, requests: AsyncIterable[Request]) -> None:
    async for request in requests:
        message = wire.message(request)
        try:
            await talk.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader is told why
            return
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await talk.done_writing()


async def _next(talk: Any, sending: "asyncio.Task[None]") -> Any:
    """The next answer; raises what is wrong with the requests."""
    receiving = asyncio.ensure_future(talk.read())
    try:
        if not sending.done():
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
        return await receiving
    finally:
        receiving.cancel()
