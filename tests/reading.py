"""Streams of any client, read from asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any


async def read(client: Any, parts: Any) -> AsyncIterator[Any]:
    """The parts as they come; both are closed at the end."""
    if isinstance(parts, AsyncGenerator):
        async with client, aclosing(parts):
            async for part in parts:
                yield part
        return
    try:
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part
    finally:
        await asyncio.to_thread(parts.close)
        client.close()
