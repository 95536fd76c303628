"""A transport that sends what is written to it in one turn of the event loop as one piece.

uvicorn writes the head of an answer and its body one after the other, and each write is a system call, a packet, and a
wake-up of the client, who then sits on the core that the body needs.
"""

import asyncio
from typing import Any


class CorkedTransport(asyncio.Transport):
    """Passes on to ``transport``; what is not defined here, a server does not use."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: Any) -> None:
        """Send with all else that this turn of the loop brings."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what is not sent is dropped."""
        self._held = []
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The transport's."""
        return self._transport.get_extra_info(name, default)

    def uncorked(self) -> asyncio.Transport:
        """What is beneath, for a protocol that writes whole messages; this one is not to be used any more."""
        self._flush()
        return self._transport

    def _flush(self) -> None:
        if self._held and not self._transport.is_closing():
            self._transport.writelines(self._held)
        self._held = []
