"""Times of words, from what the decoder attends to while it is given the text (dynamic time warping, in CTranslate2).

Heads that follow the speech are the checkpoint's to name; see `models.export.whisper`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from services.core.speech import Recognized, Utterance, Word
from services.engines.whisper.features import FRAMES, HOP, Floats
from services.engines.whisper.text import WhisperText

_POSITIONS_PER_SECOND = 50
_FEWEST_FRAMES = 16
"""The attention is smoothed over seven positions of two frames: it must have some."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A window whose words are wanted.

    Args:
        number: of the window among the encoded ones.
        start: what its transcript begins with.
        tokens: text of each segment, times left out.
    """

    number: int
    start: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]


def with_words(
    model: ctranslate2.models.Whisper, text: WhisperText, encoded: Floats, found: Sequence[tuple[Utterance, Recognized]]
) -> list[Recognized]:
    """What was recognised, with words in its segments where they are wanted.

    Args:
        model: that encoded the windows.
        text: its tokenizer.
        encoded: float32 ``[windows, positions, width]``.
        found: what was said in each window.
    """
    recognized = [one for _, one in found]
    for spoken, result in _aligned(model, encoded, found, list(_wanted(text, found))):
        utterance, one = found[spoken.number]
        starts = np.minimum(_starts(result.alignments, sum(map(len, spoken.tokens))), utterance.seconds)
        words = _words(text, spoken, one.language, starts, result.text_token_probs)
        segments = [replace(segment, words=tuple(own)) for segment, own in zip(one.segments, words, strict=True)]
        recognized[spoken.number] = replace(one, segments=tuple(segments))
    return recognized


def _wanted(text: WhisperText, found: Sequence[tuple[Utterance, Recognized]]) -> Iterator[_Spoken]:
    for number, (utterance, one) in enumerate(found):
        if utterance.recognition.word_times and one.segments:
            start = text.start(one.language, translate=utterance.recognition.translate)
            yield _Spoken(number, start, tuple(tuple(text.spoken(segment.tokens)) for segment in one.segments))


def _aligned(
    model: ctranslate2.models.Whisper,
    encoded: Floats,
    found: Sequence[tuple[Utterance, Recognized]],
    wanted: Sequence[_Spoken],
) -> Iterator[tuple[_Spoken, Any]]:
    """Those with the same start are one run."""
    for start in dict.fromkeys(one.start for one in wanted):
        group = [one for one in wanted if one.start == start]
        frames = [-(-len(found[one.number][0].samples) // HOP) for one in group]
        results = model.align(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded[[one.number for one in group]])),
            list(start),
            [[token for segment in one.tokens for token in segment] for one in group],
            [max(_FEWEST_FRAMES, min(FRAMES, count)) for count in frames],
        )
        yield from zip(group, results, strict=True)


def _words(
    text: WhisperText, spoken: _Spoken, language: str, starts: NDArray[np.float64], probabilities: Sequence[float]
) -> Iterator[list[Word]]:
    """Of each segment."""
    first = 0
    for tokens in spoken.tokens:
        words = text.words(tokens, language)
        limits = first + np.cumsum([0, *(count for _, count in words)])
        yield list(_placed(words, limits, starts, probabilities))
        first += len(tokens)


def _placed(
    words: Iterable[tuple[str, int]],
    limits: NDArray[np.int64],
    starts: NDArray[np.float64],
    probabilities: Sequence[float],
) -> Iterator[Word]:
    for (word, _), (begin, end) in zip(words, pairwise(limits), strict=True):
        if written := word.strip():
            sure = float(np.mean(probabilities[begin:end]))
            yield Word(written, float(starts[begin]), float(starts[end]), min(1.0, sure))


def _starts(path: Sequence[tuple[int, int]], tokens: int) -> NDArray[np.float64]:
    """Seconds at which each token begins, and what follows the last one."""
    places, positions = np.array(path).T
    first = np.searchsorted(places, np.arange(tokens + 1))
    return np.asarray(positions[np.minimum(first, len(positions) - 1)] / _POSITIONS_PER_SECOND, np.float64)
