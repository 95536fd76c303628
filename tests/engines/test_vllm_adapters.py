"""Places for adapters: never more than there are, never taken from under a sequence, and none is lost."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.adapters import Adapter, AdapterLibrary
from services.core.errors import Code, ServingError
from services.engines.vllm.adapters import Adapters
from tests.adapters import BASE, CHECK, write_adapter

NAMES = ("red", "blue", "green", "bad")
MOST = 2


class Holder:
    """Holds so many, takes a moment, and refuses ``bad``."""

    def __init__(self) -> None:
        self.held: dict[int, str] = {}
        self.used: list[int] = []

    async def add(self, number: int, adapter: Adapter) -> None:
        await asyncio.sleep(0)
        if adapter.name == "bad":
            raise ServingError(Code.INVALID_ARGUMENT, "It is bad.")
        assert number not in self.held
        self.held[number] = adapter.name
        assert len(self.held) <= MOST

    async def remove(self, number: int) -> None:
        assert number not in self.used
        await asyncio.sleep(0)
        self.held.pop(number, None)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    folder = tmp_path_factory.mktemp("adapters")
    library = AdapterLibrary(folder / "home")
    for seed, name in enumerate(NAMES):
        library.add(BASE, name, write_adapter(folder / name, seed), None, CHECK)
    return [library.find(BASE, name) for name in NAMES]


uses = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(uses)
async def test_any_use_in_any_order(adapters: list[Adapter], given_uses: list[tuple[int, int, bool]]) -> None:
    holder = Holder()
    places = Adapters(holder, MOST)

    async def use(which: int, turns: int) -> str:
        async with places.using(adapters[which]) as number:
            holder.used.append(number)
            for _ in range(turns):
                await asyncio.sleep(0)
                assert holder.held[number] == adapters[which].name
            holder.used.remove(number)
        return holder.held[number]

    tasks = [asyncio.ensure_future(use(which, turns)) for which, turns, _ in given_uses]
    await asyncio.sleep(0)
    for task, (*_, leaves) in zip(tasks, given_uses, strict=True):
        if leaves:
            task.cancel()
    async with asyncio.timeout(20):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    for one, (which, _, leaves) in zip(found, given_uses, strict=True):
        if leaves:
            assert isinstance(one, asyncio.CancelledError)
        elif NAMES[which] == "bad":
            assert isinstance(one, ServingError)
        else:
            assert one == NAMES[which]
    assert [places.users(adapter.digest) for adapter in adapters] == [0] * 4
