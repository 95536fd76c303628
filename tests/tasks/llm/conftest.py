"""A served parrot, by itself and behind a gateway: nobody shall see a difference."""

from collections.abc import AsyncIterator

import pytest

from tests.tasks.llm.parrot import Served, parrot


@pytest.fixture(scope="module", params=["lane", "gateway"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with parrot(gateway=request.param == "gateway") as running:
        yield running
