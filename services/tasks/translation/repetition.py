"""Tells a decoder that has begun to repeat itself from a text that repeats. Knows ids only.

Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration": likely text repeats itself.
"""

from collections.abc import Sequence

_LONGEST = 12
"""Tokens of the longest repeated stretch that is looked for."""

_MOST = 3
"""Times in a row that any translation may say the same."""


def is_loop(target: Sequence[int], source: Sequence[int]) -> bool:
    """Whether the target says something more often in a row than the source gives reason for."""
    times = repeats(target)
    return times > _MOST and times > repeats(source) + 1


def repeats(tokens: Sequence[int]) -> int:
    """How often in a row any stretch occurs: 1 where nothing is repeated, 0 for no tokens."""
    most = min(1, len(tokens))
    for length in range(1, min(_LONGEST, len(tokens) // 2) + 1):
        same = 0  # tokens in a row that are what they were `length` before
        for place in range(length, len(tokens)):
            same = same + 1 if tokens[place] == tokens[place - length] else 0
            most = max(most, same // length + 1)
    return most
