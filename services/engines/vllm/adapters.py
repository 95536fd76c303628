"""Which adapters vLLM holds. It knows them by numbers, and would read one from its folder again whenever it needs the
room and then the adapter: by then the folder may be gone, and its engine with it. So room is made here, in time, and
only by what nothing runs on. On the event loop only.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Protocol

from services.core.adapters import Adapter, damage
from services.core.errors import Code, ServingError


class Holder(Protocol):
    """What takes adapters in and puts them out."""

    async def add(self, number: int, adapter: Adapter) -> None:
        """Read it from its folder. Raises ServingError."""

    async def remove(self, number: int) -> None:
        """Forget it. Raises ServingError."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where an adapter is, or will be once it is loaded."""

    number: int
    loading: "asyncio.Task[None]"
    users: int = 0

    @property
    def idle(self) -> bool:
        """Whether it can be put out."""
        return not self.users and self.loading.done()


class Adapters:
    """Those that are held, at most so many: who wants another one waits. What was not used for longest makes way."""

    def __init__(self, holder: Holder, most: int) -> None:
        self._holder = holder
        self._most = most
        self._places: OrderedDict[str, _Place] = OrderedDict()  # by digest, longest unused first
        self._numbers = count(1)
        self._freed = asyncio.Event()  # since those who wait for a place last looked

    def users(self, digest: str) -> int:
        """Sequences on this adapter."""
        place = self._places.get(digest)
        return place.users if place else 0

    @asynccontextmanager
    async def using(self, adapter: Adapter) -> AsyncGenerator[int]:
        """Its number, which is good within.

        Raises:
            ServingError: it cannot be loaded.
        """
        place = await self._place(adapter)
        place.users += 1
        try:
            await asyncio.shield(place.loading)  # it goes on for others, should this one be given up
            yield place.number
        finally:
            place.users -= 1
            self._freed.set()

    async def _place(self, adapter: Adapter) -> _Place:
        """The adapter's, once it has one."""
        while adapter.digest not in self._places and not self._has_room:
            self._freed.clear()
            await self._freed.wait()
        place = self._places.get(adapter.digest) or self._open(adapter)
        self._places.move_to_end(adapter.digest)
        return place

    @property
    def _has_room(self) -> bool:
        return len(self._places) < self._most or any(place.idle for place in self._places.values())

    def _open(self, adapter: Adapter) -> _Place:
        going = self._put_out() if len(self._places) >= self._most else None
        number = next(self._numbers)
        loading = asyncio.get_running_loop().create_task(self._load(number, adapter, going))
        place = self._places[adapter.digest] = _Place(number, loading)
        loading.add_done_callback(partial(self._settle, adapter.digest, place))
        return place

    def _put_out(self) -> int:
        """The number of the one that was not used for longest, which has no place any more."""
        digest = next(digest for digest, place in self._places.items() if place.idle)
        return self._places.pop(digest).number

    async def _load(self, number: int, adapter: Adapter, going: int | None) -> None:
        if going is not None:
            await self._holder.remove(going)
        if fault := await asyncio.to_thread(damage, adapter):
            raise ServingError(Code.UNAVAILABLE, f"{fault}; load the adapter again.", "model")
        await self._holder.add(number, adapter)

    def _settle(self, digest: str, place: _Place, loading: "asyncio.Task[None]") -> None:
        failed = loading.cancelled() or loading.exception() is not None
        if failed and self._places.get(digest) is place:
            del self._places[digest]
        self._freed.set()
