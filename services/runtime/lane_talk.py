"""A live call of the gateway: a WebSocket to the task's lane, on which requests go out while answers come in.

A request is asked for when the last one is sent, and sending waits for the replica to read: what a replica does not
take stays with the client.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Self

import aiohttp

from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.edges.events import LONGEST, failure
from services.edges.form_body import only_bytes
from services.edges.websocket import END
from services.runtime.lane_calls import headers_of, told, unavailable

_CLOSE = aiohttp.ClientWSTimeout(ws_close=1.0)


class Talk:
    """One call. A context manager: leaving it early tells the replica to stop.

    Args:
        socket: newly opened.
        requests: not closed here, but nobody asks for one any more when this has ended.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, requests: AsyncGenerator[Request]) -> None:
        self._socket = socket
        self._sending = asyncio.create_task(self._send_all(requests))

    @classmethod
    async def begin(
        cls, session: aiohttp.ClientSession, url: str, context: CallContext
    ) -> aiohttp.ClientWebSocketResponse:
        """A socket; nothing is asked on it yet."""
        with told():
            return await session.ws_connect(url, headers=headers_of(context), timeout=_CLOSE, max_msg_size=LONGEST)

    async def next(self) -> bytes | None:
        """The next answer; None after the last. Raises the error that ends the call, whichever side it is from."""
        message = await self._receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            data: bytes = message.data.encode()
            if error := failure(data):
                raise error
            return data
        if self._socket.close_code == aiohttp.WSCloseCode.OK and message.type is not aiohttp.WSMsgType.ERROR:
            return None
        if self._socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            raise ServingError(Code.TOO_LARGE, "A message is too large; send shorter ones.")
        raise unavailable()

    async def _receive(self) -> aiohttp.WSMessage:
        receiving = asyncio.ensure_future(self._socket.receive())
        try:
            if not self._sending.done():
                await asyncio.wait((receiving, self._sending), return_when=asyncio.FIRST_COMPLETED)
            if self._sending.done():
                self._sending.result()  # raises what is wrong with the requests
            return await receiving
        finally:
            receiving.cancel()

    async def _send_all(self, requests: AsyncGenerator[Request]) -> None:
        async for request in requests:
            if not await self._send(request):
                return
        await self._send(None)

    async def _send(self, request: Request | None) -> bool:
        """Whether it could be sent; where it could not, what is received says why."""
        try:
            if request is None:
                await self._socket.send_str(END)
            elif (data := only_bytes(request)) is not None:
                await self._socket.send_bytes(bytes(data))
            else:
                await self._socket.send_str(request.model_dump_json(exclude_unset=True))
        except (aiohttp.ClientError, ConnectionError):
            return False
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._sending.cancel()
        await asyncio.wait((self._sending,))
        if not self._sending.cancelled():
            self._sending.exception()  # seen: the call has ended with another error, or has been left
        await self._socket.close()
