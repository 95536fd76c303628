"""Clips -> examples to learn from: words in a row, spoken in rooms and noise, and speech that means nothing.

Knows which clips go together. Does not know networks.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np
from augmentation import (
    add_noise,
    babble,
    change_speed,
    coloured_noise,
    crop,
    cut_ends,
    narrowed,
    normalize,
    reverberate,
)
from bank import Bank
from clips import RATE, Clip, Wave
from config import MixingConfig
from numpy.random import Generator

_NOISES = 60
_NOISE_SECONDS = 12


@dataclass(frozen=True, slots=True)
class Span:
    """Where something is said.

    Args:
        first: sample.
        end: sample after the last.
        word: of the vocabulary; empty for other speech.
    """

    first: int
    end: int
    word: str


@dataclass(frozen=True, slots=True)
class Example:
    """What is heard, what is said where, in the order of time, and whose voices are in it."""

    wave: Wave
    spans: tuple[Span, ...]
    speakers: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """What is to be written."""
        return [span.word for span in self.spans if span.word]


class Mixer:
    """Draws examples, for ever different ones.

    Args:
        config: how.
        digits: which words are digits.
        bank: of what; without recorded digits, all words are synthetic.
        rng: all chance there is.
    """

    def __init__(self, config: MixingConfig, digits: Container[str], bank: Bank, rng: Generator) -> None:
        self._config, self._bank, self._rng = config, bank, rng
        self._recorded = _by_speaker(bank.digits)
        self._digits = _by_speaker([clip for clip in bank.words if clip.words[0] in digits])
        self._commands = _by_speaker([clip for clip in bank.words if clip.words[0] not in digits])
        self._noises = self._make_noises()

    def draw(self) -> Example:
        """One example."""
        clips = [self._other()] if self._chance(self._config.others) else self._words()
        speed = self._rng.uniform(*self._config.speed)
        waves = [normalize(cut_ends(change_speed(clip.wave, speed), self._rng)) for clip in clips]
        wave, spans = self._joined(waves, [" ".join(clip.words) for clip in clips])
        return Example(self._heard(wave), spans, tuple(clip.speaker for clip in clips if clip.speaker))

    def _words(self) -> list[Clip]:
        """Some words, mostly by one speaker, now and then with something else among them."""
        draw = self._speaker()
        count = min(1 + int(self._rng.geometric(0.4)), self._config.longest + 1) - 1
        clips: list[Clip] = []
        while len(clips) < count:
            several = (draw if self._chance(0.85) else self._speaker())()
            again = [clip for clip in several if clips and clip.words == clips[-1].words]
            clips.append(self._one(again if again and self._chance(self._config.repeated) else several))
        if self._chance(0.05):
            clips.insert(int(self._rng.integers(0, count + 1)), self._other())
        return clips

    def _speaker(self) -> Callable[[], Sequence[Clip]]:
        """Someone's clips, of which one word after the other is drawn."""
        if self._recorded and self._chance(self._config.recorded):
            clips = self._recorded[self._key(self._recorded)]
            return lambda: clips
        name = self._key(self._digits)
        return lambda: (self._commands if self._chance(self._config.commands) else self._digits)[name]

    def _other(self) -> Clip:
        if not self._chance(self._config.recorded_others):
            return self._one(self._bank.others)
        piece = crop(self._one(self._bank.recorded_others).wave, self._rng, 0.3, self._config.others_longest)
        return Clip((piece * 32767).astype(np.int16), (), "")

    def _joined(self, waves: Sequence[Wave], words: Sequence[str]) -> tuple[Wave, tuple[Span, ...]]:
        """All of them at slightly different levels, with silence between and, unless cut tightly, around them."""
        padding = 0.0 if self._chance(self._config.tight) else self._config.padding
        parts, spans = [self._silence(padding)], []
        for wave, word in zip(waves, words, strict=True):
            first = sum(map(len, parts))
            spans.append(Span(first, first + len(wave), word))
            gap = self._silence(0 if self._chance(0.2) else self._config.gap)
            parts += [wave * 10 ** (self._rng.uniform(-4, 4) / 20), gap]
        return np.concatenate([*parts[:-1], self._silence(padding)]).astype(np.float32), tuple(spans)

    def _heard(self, wave: Wave) -> Wave:
        """In a room, in noise, and in the little noise that every recording has."""
        if self._chance(self._config.reverberant):
            wave = reverberate(wave, self._rng)
        snr = self._rng.uniform(*self._config.snr) if self._chance(self._config.noisy) else self._rng.uniform(30, 60)
        noise = self._noises[int(self._rng.integers(0, _NOISES))]
        start = int(self._rng.integers(0, len(noise) // 2))
        heard = add_noise(wave, np.resize(np.roll(noise, -start), len(wave)), snr)
        return narrowed(heard) if self._chance(self._config.narrow) else heard

    def _make_noises(self) -> list[Wave]:
        """A third of them voices."""
        length = _NOISE_SECONDS * RATE
        voices = [clip.wave for clip in self._bank.recorded_others[:40]]
        return [
            babble(voices, length, self._rng) if n % 3 == 0 and voices else coloured_noise(length, self._rng)
            for n in range(_NOISES)
        ]

    def _silence(self, longest: float) -> Wave:
        return np.zeros(int(self._rng.uniform(0, longest) * RATE), np.float32)

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _one(self, clips: Sequence[Clip]) -> Clip:
        return clips[int(self._rng.integers(0, len(clips)))]

    def _key(self, groups: dict[str, list[Clip]]) -> str:
        return list(groups)[int(self._rng.integers(0, len(groups)))]


def _by_speaker(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.speaker].append(clip)
    return dict(groups)
