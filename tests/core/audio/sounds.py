"""Sounds, and files of them."""

import io
from typing import Any

import numpy as np
import soundfile

from services.core.audio.records import Frames, Samples

NO_SOUND = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\0\0\0"
"""A wav's header, and nothing after it."""


def tone(seconds: float, rate: int = 16_000, channels: int = 1, hertz: float = 440.0, level: float = 0.5) -> Frames:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def noise(count: int, channels: int = 1) -> Frames:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (count, channels)).astype(np.float32)


def encoded(frames: Frames, rate: int = 16_000, kind: str = "WAV", subtype: str = "PCM_16", **options: Any) -> bytes:
    file = io.BytesIO()
    channels = frames.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, options.pop("endian", None), kind, **options) as out:
        for start in range(0, len(frames), rate):  # libsndfile's vorbis overflows the stack on very long writes
            out.write(frames[start : start + rate])
    return file.getvalue()


def pitch(samples: Samples, rate: int = 16_000) -> float:
    """The loudest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))
