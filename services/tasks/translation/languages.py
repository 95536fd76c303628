"""Which translations a model makes, and which of them a request means. Knows codes, no texts and no tokens."""

from collections.abc import Container
from typing import NamedTuple

from services.core.catalog import ModelSpec

AUTO = "auto"
"""In place of a source language: find it."""


class Pair(NamedTuple):
    """A direction, by the catalog's language codes."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


def base(code: str) -> str:
    """``pt-br`` -> ``pt``."""
    return code.partition("-")[0]


def pairs_of(spec: ModelSpec) -> tuple[Pair, ...]:
    """The directions of a model."""
    return tuple(Pair(source, target) for target, sources in spec.sources_of.items() for source in sources)


def known(code: str, codes: Container[str]) -> str | None:
    """The code of the catalog that ``code`` means: itself, or its language without the region."""
    return next((one for one in (code, base(code)) if one in codes), None)
