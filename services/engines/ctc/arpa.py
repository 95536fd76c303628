r"""Reads n-grams in ARPA format (Doug Paul's, as SRILM and KenLM write it). Knows nothing of what they are for.

The head, ``\data\``, has a line ``ngram 2=150`` for each order; then come ``\1-grams:`` and so on, until ``\end\``.
A line has a log10 probability, the words, and a log10 back-off weight, which is 0 if it is left out.
"""

import gzip
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

from services.core.errors import OperatorError

MOST_NGRAMS = 10_000_000
"""In a file: 16 bytes each in memory, and half a minute of reading."""
LONGEST = 6
"""Words of an n-gram."""
_LINE = 4096
"""Characters."""


class ArpaError(OperatorError):
    """A file that is no language model in ARPA format, or one that is too large."""


class NGram(NamedTuple):
    """One line. Both figures are logarithms to base 10."""

    words: tuple[str, ...]
    probability: float
    backoff: float


@contextmanager
def opened(file: Path) -> Iterator[TextIO]:
    """The text of a file, unpacked if its name ends in ``.gz``.

    Raises:
        ArpaError: it is not there, or not gzipped, or no text.
    """
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            yield io.TextIOWrapper(cast("BinaryIO", stream), encoding="utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:  # gzip's own errors are OSErrors
        raise ArpaError(f"{file.name} cannot be read as a language model: {error}") from error


def counts(lines: TextIO) -> list[int]:
    r"""How many n-grams of each order follow; reads up to ``\1-grams:``.

    Raises:
        ArpaError: the head is damaged, or tells of more than is taken.
    """
    found: list[int] = []
    for line in _stripped(lines):
        if line == "\\1-grams:":
            break
        if line.startswith("ngram "):
            order, _, count = line.removeprefix("ngram ").partition("=")
            if order.strip() != str(len(found) + 1) or not count.strip().isdecimal():
                raise ArpaError(f"language model: {line[:50]!r} is not 'ngram {len(found) + 1}=<how many>'")
            found.append(int(count))
    if not found or found[0] < 1:
        raise ArpaError(r"language model: no \data\ with counts before \1-grams:")
    if len(found) > LONGEST or sum(found) > MOST_NGRAMS:
        raise ArpaError(
            f"language model: {sum(found)} n-grams of up to {len(found)} words are too many; prune it to"
            f" {MOST_NGRAMS} of up to {LONGEST}"
        )
    return found


def section(lines: TextIO, order: int, count: int) -> Iterator[NGram]:
    """The n-grams of one order; reads up to the head of the next.

    Raises:
        ArpaError: a line is damaged, or there are more or fewer than the head told.
    """
    seen = 0
    for line in _stripped(lines):
        if line.startswith("\\") and (line == "\\end\\" or line == f"\\{order + 1}-grams:"):
            break
        seen += 1
        if seen > count:
            break
        yield _parsed(line, order)
    else:
        raise ArpaError(f"language model: it ends within its {order}-grams")
    if seen != count:
        raise ArpaError(f"language model: its head tells of {count} {order}-grams, not of {seen}")


def _parsed(line: str, order: int) -> NGram:
    fields = line.split()
    try:
        probability = float(fields[0])
        backoff = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
    except ValueError:
        probability = math.nan
    if not (order + 1 <= len(fields) <= order + 2 and -math.inf < probability <= 0 and math.isfinite(backoff)):
        raise ArpaError(f"language model: {line[:50]!r} is no {order}-gram with its log10 probability")
    return NGram(tuple(fields[1 : order + 1]), probability, backoff)


def _stripped(lines: TextIO) -> Iterator[str]:
    """Lines that are not empty."""
    while line := lines.readline(_LINE):
        if len(line) == _LINE:
            raise ArpaError(f"language model: a line of more than {_LINE} characters")
        if stripped := line.strip():
            yield stripped
