"""Encoded windows -> tokens, greedily; what comes out badly is tried again at higher temperatures.

Radford et al. 2022, section 4.5: text that repeats itself, or that the model itself thinks unlikely, is sampled anew;
unlikely text where the model hears no speech is none. Runs have equal prompts in length and equal temperatures.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import ctranslate2
import numpy as np

from services.engines.whisper.features import Floats
from services.engines.whisper.text import WhisperText

FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MOST_COMPRESSION = 2.4
LEAST_SCORE = -1.0
MOST_NO_SPEECH = 0.6


@dataclass(frozen=True, slots=True)
class Window:
    """What the decoder is to do with one window.

    Args:
        prompt: ids it is given.
        temperatures: to be tried, in this order.
    """

    prompt: tuple[int, ...]
    temperatures: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What it wrote.

    Args:
        tokens: ids, times included, without prompt and end.
        score: mean natural logarithm of their probabilities, end included.
        no_speech: probability that nobody speaks.
        compression: ratio by which zlib shortens the text.
        temperature: of sampling.
    """

    tokens: tuple[int, ...]
    score: float
    no_speech: float
    compression: float
    temperature: float

    @property
    def silent(self) -> bool:
        """Whether it is nothing: unlikely text, and no speech heard."""
        return self.no_speech > MOST_NO_SPEECH and self.score < LEAST_SCORE

    @property
    def good(self) -> bool:
        """Whether it need not be tried again."""
        return self.silent or (self.compression <= MOST_COMPRESSION and self.score >= LEAST_SCORE)


def decode(
    model: ctranslate2.models.Whisper, text: WhisperText, encoded: Floats, windows: Sequence[Window], context: int
) -> list[Decoded]:
    """What is in each window.

    Args:
        model: that encoded them.
        text: its tokenizer.
        encoded: float32 ``[windows, positions, width]``.
        windows: as many.
        context: most tokens, prompt included; half of them are left to what is written.
    """
    tries: list[list[Decoded]] = [[] for _ in windows]

    def left(number: int) -> tuple[int, float]:
        """What windows in one run have in common: length of prompt, and next temperature; negative: none."""
        window, tried = windows[number], tries[number]
        done = len(tried) == len(window.temperatures) or (tried and tried[-1].good)
        return len(window.prompt), -1.0 if done else window.temperatures[len(tried)]

    while open_ones := sorted((number for number in range(len(windows)) if left(number)[1] >= 0), key=left):
        for (_, temperature), group in groupby(open_ones, left):
            numbers = list(group)
            inputs = encoded if numbers == list(range(len(windows))) else encoded[numbers]
            prompts = [list(windows[number].prompt) for number in numbers]
            results = _generate(model, inputs, prompts, temperature, context)
            for number, result in zip(numbers, results, strict=True):
                tries[number].append(_decoded(text, result, temperature))
    return [max(tried, key=_merit) for tried in tries]


def _merit(tried: Decoded) -> tuple[bool, bool, float]:
    """Of several that are no good, the likeliest that does not repeat itself."""
    return tried.good, tried.compression <= MOST_COMPRESSION, tried.score


def _generate(
    model: ctranslate2.models.Whisper, encoded: Floats, prompts: list[list[int]], temperature: float, context: int
) -> Any:
    return model.generate(
        ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded)),
        prompts,
        beam_size=1,
        max_length=context,
        length_penalty=0,  # sums, not means, of logarithms
        return_scores=True,
        return_no_speech_prob=True,
        sampling_topk=0 if temperature else 1,
        sampling_temperature=temperature or 1.0,
    )


def _decoded(text: WhisperText, result: Any, temperature: float) -> Decoded:
    tokens = tuple(result.sequences_ids[0])
    written = text.decode(tokens).strip().encode()
    return Decoded(
        tokens,
        score=min(0.0, result.scores[0] / (len(tokens) + 1)),
        no_speech=result.no_speech_prob,
        compression=len(written) / len(zlib.compress(written)),
        temperature=temperature,
    )
