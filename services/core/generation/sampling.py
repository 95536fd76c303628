"""From the logits of a sequence's next token to that token.

In the order of vLLM and transformers: log-probabilities of the logits as they came; biases and penalties; temperature;
``top_k``, then ``top_p`` of what it left, then ``min_p``; one draw. Nothing sorts a vocabulary unless a flat
distribution makes it, and a sequence's draws are its own: company in the batch does not change them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.core.errors import Code, ServingError
from services.core.generation.penalties import Penalties
from services.core.generation.records import Row, SamplingParams, Token

_COLDEST = 1e-5
"""Temperatures below it take the most probable token: a quotient by less leaves float32."""

_HEADS = (1024, 8192)
"""Tokens that are sorted for ``top_p``, and if they do not reach it; the nucleus is nearly always among the first."""

_BLOCK = 512
"""Weights that are added up at a time, so that a draw runs through two short sums instead of a long one."""

_Ids = NDArray[np.int64]
_Weights = NDArray[np.float32]


class Sampler:
    """Chooses the tokens of one sequence.

    Args:
        params: how.
        prompt: ids that a repetition penalty counts as seen.
        vocabulary: logits in a row.
    """

    def __init__(self, params: SamplingParams, prompt: Sequence[int], vocabulary: int) -> None:
        self._params = params
        self._penalties = Penalties(params, prompt, vocabulary)
        # NumPy's seeds are not negative; ours may be any 64 bits.
        seed = None if params.seed is None else params.seed % 2**64
        self._greedy = params.temperature < _COLDEST or params.top_k == 1
        self._random = None if self._greedy else np.random.Generator(np.random.PCG64(seed))

    def choose(self, row: Row) -> Token:
        """The next token. ``row`` is changed.

        Raises:
            ServingError: INTERNAL, the logits are no numbers or let no token follow.
        """
        raw = None if self._params.logprobs is None else row.copy()
        self._penalties.apply(row)
        best = int(row.argmax())  # of a NaN, if there is one
        if not math.isfinite(row[best]):
            raise _unusable(float(row[best]))
        token = best if self._random is None else self._draw(row, float(row[best]), self._random)
        self._penalties.note(token)
        return Token(token) if raw is None else _told(raw, token, self._params.logprobs or 0)

    def _draw(self, row: Row, highest: float, random: np.random.Generator) -> int:
        with np.errstate(over="ignore"):  # far below the best is as good as minus infinity
            np.subtract(row, np.float32(highest), out=row)
            np.divide(row, np.float32(self._params.temperature), out=row)
        kept = _kept(row, self._params)
        weights = np.exp(row if kept is None else row[kept])
        drawn = inverse(weights, random.random())
        return drawn if kept is None else int(kept[drawn])


def _kept(scaled: Row, params: SamplingParams) -> _Ids | None:
    """Tokens that may be drawn; None is all. ``scaled``: logits over temperature, the highest 0."""
    kept: _Ids | None = None
    if 0 < params.top_k < scaled.size:
        kept = _descending(scaled, params.top_k)
    if params.top_p < 1:
        kept = _nucleus(scaled, params.top_p) if kept is None else kept[: _reach(scaled[kept], params.top_p)]
    if params.min_p > 0:
        # A share of the best one's probability is a distance from its logit, whatever was taken away.
        least = np.float32(math.log(params.min_p))
        kept = np.flatnonzero(scaled >= least) if kept is None else kept[scaled[kept] >= least]
    return kept


def _nucleus(scaled: Row, top_p: float) -> _Ids:
    """The fewest most probable tokens that have this probability together."""
    wanted = top_p * float(np.exp(scaled).sum(dtype=np.float64))
    for size in (*_HEADS, scaled.size):
        head = _descending(scaled, size)
        count = _reaching(np.exp(scaled[head]), wanted)
        if count <= head.size or head.size == scaled.size:
            break
    return head[:count]


def _reach(scaled: Row, top_p: float) -> int:
    weights = np.exp(scaled)
    return _reaching(weights, top_p * float(weights.sum(dtype=np.float64)))


def _reaching(weights: _Weights, wanted: float) -> int:
    """How many weights, from the first, add up to what is wanted; one more than there are if they do not."""
    return int(np.searchsorted(np.cumsum(weights, dtype=np.float64), wanted)) + 1


def _descending(row: Row, count: int) -> _Ids:
    """So many of the highest, highest first."""
    if count < row.size:
        found = np.argpartition(row, row.size - count)[row.size - count :]
        return found[np.argsort(-row[found])]
    return np.argsort(-row)


def inverse(weights: _Weights, uniform: float) -> int:
    """Where this share of all weight is reached: with a uniform share, a draw by weight. Never at a weight of 0."""
    blocks = np.cumsum(np.add.reduceat(weights, np.arange(0, weights.size, _BLOCK), dtype=np.float64))
    block, before = _place(blocks, uniform * float(blocks[-1]))
    start = block * _BLOCK
    inside = np.cumsum(weights[start : start + _BLOCK], dtype=np.float64)
    return start + _place(inside, uniform * float(blocks[-1]) - before)[0]


def _place(sums: NDArray[np.float64], wanted: float) -> tuple[int, float]:
    """The first sum past what is wanted, and the one before it; rounding may want more than all."""
    found = int(np.searchsorted(sums, wanted, side="right"))
    found = min(found, int(np.searchsorted(sums, sums[-1])))
    return found, float(sums[found - 1]) if found else 0.0


def _told(raw: Row, token: int, count: int) -> Token:
    """The token with its log-probability and the best alternatives'."""
    highest = float(raw.max())
    total = highest + math.log(float(np.exp(raw - np.float32(highest)).sum(dtype=np.float64)))
    best = _descending(raw, count) if count else np.empty(0, np.int64)
    # What a constraint rules out has no probability to tell.
    top = tuple((int(one), float(raw[one]) - total) for one in best if raw[one] > -math.inf)
    return Token(token, float(raw[token]) - total, top)


def _unusable(highest: float) -> ServingError:
    if highest == -math.inf:
        return ServingError(Code.INTERNAL, "No token may follow; loosen the response format or the logit biases.")
    return ServingError(Code.INTERNAL, "The model computed logits that are no numbers; try another model or precision.")
