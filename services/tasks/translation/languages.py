"""Which translations a model makes, and which of them a request means. Knows codes, no texts and no tokens."""

from collections.abc import Iterable
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
    """The directions of a model, in catalog order."""
    if spec.pairs:
        return tuple(Pair(*pair.split("-")) for pair in spec.pairs)
    return tuple(Pair(one, other) for one in spec.languages for other in spec.languages if one != other)


def sources_of(pairs: Iterable[Pair], target: str) -> tuple[str, ...]:
    """The languages that are translated to ``target``."""
    return tuple(pair.source for pair in pairs if pair.target == target)


def known(code: str, codes: Iterable[str]) -> str | None:
    """The code of the catalog that ``code`` means: itself, or its language without the region."""
    there = set(codes)
    return next((one for one in (code, base(code)) if one in there), None)
