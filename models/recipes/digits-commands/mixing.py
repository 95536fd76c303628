"""Clips -> examples to learn from: words in a row, spoken in rooms and noise, and speech that means nothing.

Knows which clips go together. Does not know networks.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np
from augmentation import add_noise, babble, change_speed, coloured_noise, crop, cut_ends, normalize, reverberate
from bank import Bank
from clips import RATE, Clip, Wave
from config import MixingConfig
from numpy.random import Generator

_NOISES = 60
_NOISE_SECONDS = 12


@dataclass(frozen=True, slots=True)
class Example:
    """What is heard, what is to be written, and whose voices are in it."""

    wave: Wave
    words: tuple[str, ...]
    speakers: tuple[str, ...] = ()


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
        kind = self._rng.random()
        if kind < self._config.others:
            clips = [self._other()]
        elif kind < self._config.others + self._config.phrases:
            clips = [self._one(self._bank.phrases)]
        else:
            clips = self._words()
        speed = self._rng.uniform(*self._config.speed)
        waves = [normalize(cut_ends(change_speed(clip.wave, speed), self._rng)) for clip in clips]
        words = tuple(word for clip in clips for word in clip.words)
        return Example(self._heard(self._joined(waves)), words, tuple(clip.speaker for clip in clips if clip.speaker))

    def _words(self) -> list[Clip]:
        """Some words, mostly by one speaker, now and then with something else among them."""
        draw = self._speaker()
        count = min(1 + int(self._rng.geometric(0.4)), self._config.longest + 1) - 1
        clips = [self._one((draw if self._chance(0.85) else self._speaker())()) for _ in range(count)]
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
        piece = crop(self._one(self._bank.recorded_others).wave, self._rng, 0.3, 2.5)
        return Clip((piece * 32767).astype(np.int16), (), "")

    def _joined(self, waves: Sequence[Wave]) -> Wave:
        """All of them at slightly different levels, with silence between and around them."""
        parts = [self._silence(self._config.padding)]
        for wave in waves:
            gap = self._silence(0 if self._chance(0.2) else self._config.gap)
            parts += [wave * 10 ** (self._rng.uniform(-4, 4) / 20), gap]
        return np.concatenate([*parts[:-1], self._silence(self._config.padding)]).astype(np.float32)

    def _heard(self, wave: Wave) -> Wave:
        """In a room, in noise, and in the little noise that every recording has."""
        if self._chance(self._config.reverberant):
            wave = reverberate(wave, self._rng)
        snr = self._rng.uniform(*self._config.snr) if self._chance(self._config.noisy) else self._rng.uniform(30, 60)
        noise = self._noises[int(self._rng.integers(0, _NOISES))]
        start = int(self._rng.integers(0, len(noise) // 2))
        return add_noise(wave, np.roll(noise, -start), snr)

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
