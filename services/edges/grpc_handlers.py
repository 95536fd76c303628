"""Handlers of gRPC methods: decode, call, encode, for each kind of method.

They take raw bytes and decode themselves: grpcio would report a malformed message as INTERNAL. How long a call may
take and what is counted is in `Endpoint`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc

from services.core.errors import Code, ServingError
from services.core.schema import Request, Response
from services.core.task import Kind, Method
from services.edges import protobuf
from services.edges.endpoint import REQUEST_ID, Endpoint, request_id, taken
from services.edges.status import WIRE, retry_after, too_large

Call = grpc.aio.ServicerContext[bytes, bytes]


def _unary(endpoint: Endpoint, max_bytes: int) -> Any:
    decode, encode = _codec(endpoint, max_bytes)

    async def handle(data: bytes, call: Call) -> bytes:
        headers = _first(call.invocation_metadata())
        identity = request_id(headers)
        if refusal := endpoint.refusal(headers, call.time_remaining()):
            return await _refuse(call, refusal, identity)
        try:
            response = await endpoint(identity, headers, _later(decode, data), call.time_remaining())
        except ServingError as error:
            return await _refuse(call, error, identity)
        call.set_trailing_metadata(((REQUEST_ID, identity),))
        return encode(response)

    return grpc.unary_unary_rpc_method_handler(handle)


def _server_stream(endpoint: Endpoint, max_bytes: int) -> Any:
    decode, encode = _codec(endpoint, max_bytes)

    async def handle(data: bytes, call: Call) -> None:
        headers = _first(call.invocation_metadata())
        identity = request_id(headers)
        if refusal := endpoint.refusal(headers, call.time_remaining()):
            await _refuse(call, refusal, identity)
        call.set_trailing_metadata(((REQUEST_ID, identity),))
        try:
            async with aclosing(
                endpoint.stream(identity, headers, _later(decode, data), call.time_remaining())
            ) as parts:
                async for part in parts:
                    await taken(call.write(encode(part)))
        except ServingError as error:
            await _refuse(call, error, identity)

    return grpc.unary_stream_rpc_method_handler(handle)


def _bidi(endpoint: Endpoint, max_bytes: int) -> Any:
    decode, encode = _codec(endpoint, max_bytes)

    async def requests(call: Call) -> AsyncGenerator[Request]:
        # One message is read when one is asked for: what is not, gRPC's flow control keeps at the sender.
        while (data := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            yield decode(data)

    async def handle(_: Any, call: Call) -> None:
        headers = _first(call.invocation_metadata())
        identity = request_id(headers)
        if refusal := endpoint.refusal(headers, call.time_remaining()):
            await _refuse(call, refusal, identity)
        call.set_trailing_metadata(((REQUEST_ID, identity),))
        try:
            answers = endpoint.converse(identity, headers, requests(call), call.time_remaining())
            async with aclosing(answers):
                async for answer in answers:
                    await taken(call.write(encode(answer)))
        except ServingError as error:
            await _refuse(call, error, identity)

    return grpc.stream_stream_rpc_method_handler(handle)


HANDLERS: dict[Kind, Callable[[Endpoint, int], Any]] = {
    Kind.UNARY: _unary,
    Kind.SERVER_STREAM: _server_stream,
    Kind.BIDI: _bidi,
}


def _codec(endpoint: Endpoint, max_bytes: int) -> tuple[Callable[[bytes], Request], Callable[[Response], bytes]]:
    """How a method's requests are read and its answers written."""
    method: Method = endpoint.method
    request_class = protobuf.message_class(endpoint.task, method.request)
    response_class = protobuf.message_class(endpoint.task, method.response)

    def decode(data: bytes) -> Request:
        if len(data) > max_bytes:
            raise too_large(max_bytes)
        return protobuf.decode(data, request_class, method.request)

    return decode, lambda response: protobuf.encode(response, response_class)


def _later(decode: Callable[[bytes], Request], data: bytes) -> Callable[[], Awaitable[Request]]:
    """To be decoded under the eyes of `Endpoint`."""

    async def decoded() -> Request:
        return decode(data)

    return decoded


class Unknown(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Methods there are not, with the trailers every error has."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """A handler that refuses."""

        async def refuse(_: bytes, call: Call) -> bytes:
            identity = request_id(_first(call.invocation_metadata()))
            trailers = (("x-chorale-code", str(Code.NOT_FOUND)), (REQUEST_ID, identity))
            message = f"No method {details.method}; reflection lists what there is."
            await call.abort(grpc.StatusCode.UNIMPLEMENTED, message, trailers)
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


def _first(metadata: Any) -> dict[str, str]:
    """Text metadata by name; of a repeated one the first, as REST takes headers."""
    return {key: value for key, value in reversed(tuple(metadata or ())) if isinstance(value, str)}


async def _refuse(call: Call, error: ServingError, identity: str) -> NoReturn:
    """End the call by its trailers alone: a message before them, even an empty one, would end a client's retries."""
    trailers = [("x-chorale-code", str(error.code)), (REQUEST_ID, identity)]
    if error.param is not None:
        trailers.append(("x-chorale-param", error.param))
    if (seconds := retry_after(error)) is not None:
        trailers.append(("retry-after", seconds))
    await call.abort(WIRE[error.code].grpc, error.message, tuple(trailers))
