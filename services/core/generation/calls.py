"""A call whose sequences are being generated: what it has been told, as its caller takes it. On the event loop only."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from services.core.errors import ServingError


class Call:
    """Outputs of ``count`` sequences as they come."""

    def __init__(self, count: int, deadline: float) -> None:
        self.deadline = deadline
        self.submitted = time.monotonic()
        self._left = count
        self._error: ServingError | None = None
        self._outputs: deque[tuple[int, Any]] = deque()
        self._news = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether anything may come yet."""
        return self._left > 0 and self._error is None

    def tell(self, index: int, output: Any, *, last: bool) -> None:
        """One of its sequences has this to say."""
        if self.open:
            self._outputs.append((index, output))
            self._left -= last
            self._news.set()

    def fail(self, error: ServingError) -> None:
        """Nothing more comes, after what has come."""
        if self.open:
            self._error = error
            self._news.set()

    async def outputs(self) -> AsyncGenerator[tuple[int, Any]]:
        """Which sequence says what, as it comes. Raises the error it failed with."""
        while True:
            while self._outputs:
                yield self._outputs.popleft()
            if not self.open:
                break
            self._news.clear()
            await self._news.wait()
        if self._error:
            raise self._error
