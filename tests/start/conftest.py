"""One start with everything there is, for all tests of what someone new finds."""

from collections.abc import Iterator

import pytest

from tests.runtime.process import Chorale, chorale


@pytest.fixture(scope="package")
def server() -> Iterator[Chorale]:
    """The bundled models, built first where they have to be, on a local Ray cluster."""
    with chorale(timeout=540) as running:
        yield running
