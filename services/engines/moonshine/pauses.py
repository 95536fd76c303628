"""Where nobody speaks within an utterance, and words that do not reach into it.

Attention tells words apart, but says nothing of a pause between them: it goes to the word before, and what follows
begins late. On 55 LJSpeech clips, pauses bring the beginnings of words from 40 to 35 ms from forced alignment on
average, their ends from 52 to 42; the worst twentieth of the ends is off by 110 ms, not 198.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.core.audio import SPEECH_RATE, Samples
from services.core.speech import Word

HOP = SPEECH_RATE // 100
QUIETER = 35.0
"""Decibels that a pause is below the loud parts; or else it is"""
NOISE = 0.35
"""at most so far above the quietest parts, of their distance to the loud ones: where there is noise."""

SHORTEST = 0.12
"""Seconds; stops within words are shorter. At the ends of an utterance, any pause counts."""

NEAR = 0.25
"""Seconds between two words' boundary and a pause that is taken for it."""

Span = tuple[float, float]


def pauses(samples: Samples) -> list[Span]:
    """Beginning and end, in seconds, of each."""
    count = len(samples) // HOP
    power = np.square(samples[: count * HOP].reshape(count, HOP)).mean(axis=1)
    level = 10 * np.log10(power + 1e-10)
    lowest, highest = np.percentile(level, [2, 95]) if count else (0.0, 0.0)
    quiet = level < max(highest - QUIETER, lowest + NOISE * (highest - lowest))
    turns = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])))) * HOP / SPEECH_RATE
    whole = count * HOP / SPEECH_RATE
    spans = [(float(start), float(end)) for start, end in turns.reshape(-1, 2)]
    return [span for span in spans if span[1] - span[0] >= SHORTEST or span[0] == 0 or span[1] == whole]


def between(words: Sequence[Word], spans: Sequence[Span]) -> tuple[Word, ...]:
    """The same words, ending where pauses near their ends begin, and beginning where pauses near their beginnings end.

    Args:
        words: in order, each ending where the next begins.
        spans: pauses, in order.
    """
    if not words:
        return ()
    starts, ends = [word.start for word in words], [word.end for word in words]
    boundaries = np.array([*starts, *ends[-1:]])
    for start, end in spans:
        distances = np.maximum(start - boundaries, boundaries - end).clip(0)
        place = int(distances.argmin())
        if distances[place] > NEAR:
            continue
        if place < len(words) and end < ends[place]:
            starts[place] = end
        if place > 0 and start > starts[place - 1]:
            ends[place - 1] = start
    times = np.maximum.accumulate(np.column_stack((starts, ends)).ravel()).reshape(-1, 2).tolist()
    return tuple(replace(word, start=start, end=end) for word, (start, end) in zip(words, times, strict=True))
