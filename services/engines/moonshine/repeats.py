"""Whether tokens go round in a circle: the best known failure of small recognisers."""

from collections.abc import Sequence

TIMES = 3
TOKENS = 12
"""In all repetitions together: people do say "no, no, no"."""


def looping(tokens: Sequence[int]) -> int:
    """How many of the last tokens only repeat those before them; 0 if they do not go round in a circle.

    A circle is something that comes three times at least, and fills twelve tokens at least.
    """
    for length in range(1, len(tokens) // TIMES + 1):
        times = max(TIMES, -(-TOKENS // length))
        last = tokens[-length * times :]
        if len(last) == length * times and all(
            last[place] == last[place % length] for place in range(length, len(last))
        ):
            return length * (times - 1)
    return 0
