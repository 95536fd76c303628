"""One running server for all edge tests; tests that need their own load start their own."""

from collections.abc import AsyncIterator

import pytest

from tests.serving import Server, serve


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serve(tmp_path_factory.mktemp("artefact"), max_request_bytes=100_000) as running:
        yield running
