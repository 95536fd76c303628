"""Live calls over WebSockets: requests go out while answers come in. Knows JSON and bytes, and of records only those.

What is on the wire is in `services.edges.websocket`.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from services.clients.calls import Call, NeverBegunError, require
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import Method
from services.edges.events import LONGEST, failure
from services.edges.form_body import only_bytes
from services.edges.status import read_error, read_foreign
from services.edges.websocket import END

_OK, _TOO_BIG = 1000, 1009


def talk(url: str, method: Method, requests: Iterable[Request], call: Call) -> Iterator[bytes]:
    """The answers, each as JSON. Raises ServingError, and what ``requests`` raise."""
    with _connected(url, method, call) as socket:
        sender = _Sender(socket, method, requests)
        sender.start()
        while (data := _next(socket, call, sender)) is not None:
            yield data


def _next(socket: ClientConnection, call: Call, sender: "_Sender") -> bytes | None:
    try:
        message = socket.recv(timeout=call.remaining())
    except TimeoutError:
        raise _too_late() from None
    except ConnectionClosed as error:
        if sender.failed:
            raise sender.failed from None
        _require_end(error)
        return None
    return _answer(message)


class _Sender(threading.Thread):
    """Sends requests until there are no more; what is wrong with them ends the call."""

    def __init__(self, socket: ClientConnection, method: Method, requests: Iterable[Request]) -> None:
        # A daemon: it may wait for a request that never comes, and nothing can wake it.
        super().__init__(name="requests", daemon=True)
        self._socket = socket
        self._method = method
        self._requests = requests
        self.failed: Exception | None = None

    def run(self) -> None:
        with suppress(ConnectionClosed):  # the reader is told why
            try:
                for request in self._requests:
                    self._socket.send(_message(self._method, request))
                self._socket.send(END)
            except ConnectionClosed:
                raise
            except Exception as error:  # noqa: BLE001  # the caller's own: raised again where the caller can see it
                self.failed = error
                self._socket.close()


@contextmanager
def _connected(url: str, method: Method, call: Call) -> Iterator[ClientConnection]:
    while True:
        try:
            socket = connect(_address(url, method), **_options(call))
        except (OSError, InvalidHandshake) as error:
            time.sleep(call.pause(_told(url, error)))
        else:
            break
    with socket:
        yield socket


async def atalk(url: str, method: Method, requests: AsyncIterable[Request], call: Call) -> AsyncGenerator[bytes]:
    """As `talk`, for asyncio."""
    async with _connected_async(url, method, call) as socket:
        sending = asyncio.create_task(_send_all(socket, method, requests))
        try:
            while (data := await _anext(socket, call, sending)) is not None:
                yield data
        finally:
            sending.cancel()
            await asyncio.wait((sending,))
            if not sending.cancelled():
                sending.exception()  # seen: the call has ended with another error, or has been left


async def _anext(socket: AsyncConnection, call: Call, sending: "asyncio.Task[None]") -> bytes | None:
    receiving = asyncio.ensure_future(socket.recv())
    try:
        async with asyncio.timeout(call.remaining()):
            if not sending.done():
                await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            return _answer(await receiving)
    except TimeoutError:
        raise _too_late() from None
    except ConnectionClosed as error:
        _require_end(error)
        return None
    finally:
        receiving.cancel()


async def _send_all(socket: AsyncConnection, method: Method, requests: AsyncIterable[Request]) -> None:
    async for request in requests:
        message = _message(method, request)
        try:
            await socket.send(message)
        except ConnectionClosed:  # the reader is told why
            return
    with suppress(ConnectionClosed):
        await socket.send(END)


@asynccontextmanager
async def _connected_async(url: str, method: Method, call: Call) -> AsyncGenerator[AsyncConnection]:
    while True:
        try:
            socket = await connect_async(_address(url, method), **_options(call))
        except (OSError, InvalidHandshake) as error:
            await asyncio.sleep(call.pause(_told(url, error)))
        else:
            break
    async with socket:
        yield socket


def _options(call: Call) -> dict[str, Any]:
    return {
        "additional_headers": call.headers(),
        "open_timeout": call.remaining(),
        "close_timeout": 1.0,
        "compression": None,
        "max_size": LONGEST,
        "ping_timeout": None,  # a server that does not take messages for a while cannot be heard to answer
    }


def _address(url: str, method: Method) -> str:
    """``http`` is ``ws`` here, and ``https`` is ``wss``."""
    return f"ws{url.removeprefix('http')}{method.route}"


def _message(method: Method, request: Request) -> str | bytes:
    require(method, request)
    data = only_bytes(request)
    return request.model_dump_json(exclude_unset=True) if data is None else bytes(data)


def _answer(message: str | bytes) -> bytes:
    data = message.encode() if isinstance(message, str) else message
    if error := failure(data):
        raise error
    return data


def _require_end(error: ConnectionClosed) -> None:
    """Raise ServingError unless the server closed the connection because all is answered."""
    code = error.rcvd.code if error.rcvd else None
    if code == _TOO_BIG:
        raise ServingError(Code.TOO_LARGE, "A message is too large; send shorter ones.") from error
    if code != _OK:
        message = "The connection was closed before the answer had ended."
        raise ServingError(Code.UNAVAILABLE, message) from error


def _told(url: str, error: OSError | InvalidHandshake) -> ServingError:
    """Why there is no connection."""
    if isinstance(error, InvalidStatus):
        body, seconds = bytes(error.response.body or b""), error.response.headers.get("retry-after")
        status = error.response.status_code
        message = f"{url} answered {status}, but not as a Chorale server does; is the URL right?"
        return read_error(body, seconds) or read_foreign(status, message, seconds)
    if isinstance(error, TimeoutError):
        return ServingError(Code.DEADLINE_EXCEEDED, f"{url} did not answer in time.")
    if "CERTIFICATE" in str(error):
        return ServingError(Code.UNAUTHENTICATED, f"{url}: {error}")
    found = ServingError(Code.UNAVAILABLE, f"No server answers at {url}; is it running?")
    found.__cause__ = NeverBegunError(str(error))
    return found


def _too_late() -> ServingError:
    return ServingError(Code.DEADLINE_EXCEEDED, "The answer had not ended in time.")
