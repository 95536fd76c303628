"""What happens to speech before a microphone, done to waveforms: other speeds, rooms, noise, cut ends.

Pure functions of samples in [-1, 1] at 16 kHz and a generator of random numbers. Knows no words.
"""

from collections.abc import Sequence

import numpy as np
import soxr
from clips import RATE, Wave
from numpy.random import Generator


def change_speed(wave: Wave, factor: float) -> Wave:
    """As if played faster: shorter by ``factor``, and higher."""
    at = np.arange(0, len(wave) - 1, factor)
    return np.asarray(np.interp(at, np.arange(len(wave)), wave), np.float32)


def narrowed(wave: Wave) -> Wave:
    """With nothing above 4 kHz, as telephones have it."""
    return np.asarray(soxr.resample(soxr.resample(wave, RATE, RATE / 2), RATE / 2, RATE), np.float32)


def cut_ends(wave: Wave, rng: Generator, most: float = 0.03) -> Wave:
    """Without up to ``most`` seconds at either end, never more than a tenth of it."""
    limit = min(int(most * RATE), len(wave) // 10)
    first, last = rng.integers(0, limit + 1, 2)
    return wave[first : len(wave) - last]


def crop(wave: Wave, rng: Generator, shortest: float, longest: float) -> Wave:
    """A piece of that many seconds, or all of it if it is shorter; faded in and out for 10 ms."""
    length = min(len(wave), int(rng.uniform(shortest, longest) * RATE))
    first = rng.integers(0, len(wave) - length + 1)
    piece = wave[first : first + length].copy()
    fade = min(RATE // 100, length // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    piece[:fade] *= ramp
    piece[length - fade :] *= ramp[::-1]
    return piece


def power(wave: Wave) -> float:
    """Mean square where there is sound: of the samples above a twentieth of the loudest."""
    square = np.square(wave)
    loud = square[square > 0.0025 * square.max(initial=0)]
    return float(loud.mean()) if len(loud) else 0.0


def normalize(wave: Wave) -> Wave:
    """The same at a power of -20 dB."""
    return np.asarray(wave * (0.1 / max(np.sqrt(power(wave)), 1e-6)), np.float32)


def coloured_noise(length: int, rng: Generator) -> Wave:
    """Noise whose power falls with frequency to a random exponent: white (0), pink (1), brown (2), or between."""
    exponent = rng.uniform(0, 2)
    size = 1 << (length - 1).bit_length()
    spectrum = rng.normal(size=size // 2 + 1) + 1j * rng.normal(size=size // 2 + 1)
    shaped = np.fft.irfft(spectrum / np.maximum(np.arange(size // 2 + 1), size / 400) ** (exponent / 2), size)
    return normalize(shaped[:length].astype(np.float32))


def babble(voices: Sequence[Wave], length: int, rng: Generator) -> Wave:
    """Several of the voices at once, from anywhere in them."""
    mixed = np.zeros(length, np.float32)
    for number in rng.integers(0, len(voices), int(rng.integers(3, 8))):
        mixed += np.roll(np.resize(normalize(voices[number]), length), rng.integers(0, length))
    return normalize(mixed)


def add_noise(wave: Wave, noise: Wave, snr: float) -> Wave:
    """``noise``, at -20 dB itself, ``snr`` dB below the speech."""
    level = np.sqrt(power(wave)) / 0.1 * 10 ** (-snr / 20)
    return np.asarray(wave + noise[: len(wave)] * level, np.float32)


def reverberate(wave: Wave, rng: Generator) -> Wave:
    """In a room that takes 0.1 to 0.6 s to fall silent: decaying noise after the direct sound."""
    decay = rng.uniform(0.1, 0.6)
    times = np.arange(int(decay * RATE)) / RATE
    room = rng.normal(size=len(times)) * 10 ** (-3 * times / decay)
    room *= rng.uniform(0.2, 0.9) / max(np.sqrt(np.square(room).sum()), 1e-9)
    room[0] = 1.0
    size = 1 << (len(wave) + len(room) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(room, size), size)[: len(wave)].astype(np.float32)
