"""Clips of speech and what is said in them: read from data sets, kept in one file. 16 kHz mono.

Knows files. Does not know how speech is made or mixed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000
Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """Some speech.

    Args:
        samples: int16, at 16 kHz.
        words: what is said, of the vocabulary; empty for other speech.
        speaker: who says it.
    """

    samples: NDArray[np.int16]
    words: tuple[str, ...]
    speaker: str

    @property
    def wave(self) -> Wave:
        """Samples in [-1, 1]."""
        return np.divide(self.samples, 32768, dtype=np.float32)


def to_clip(wave: Wave, words: Iterable[str], speaker: str) -> Clip:
    """A clip of samples in [-1, 1]."""
    return Clip(np.clip(wave * 32768, -32768, 32767).astype(np.int16), tuple(words), speaker)


def read_audio(file: Path) -> Wave:
    """Mono samples at 16 kHz."""
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate, RATE), np.float32)


def read_digits(folder: Path, digits: tuple[str, ...]) -> list[Clip]:
    """The Free Spoken Digit Dataset: ``<digit>_<speaker>_<n>.flac``."""
    clips = []
    for file in sorted(folder.glob("*.flac")):
        digit, speaker, _ = file.stem.split("_")
        clips.append(to_clip(read_audio(file), [digits[int(digit)]], speaker))
    return clips


def read_others(folder: Path, vocabulary: Iterable[str]) -> list[Clip]:
    """Clips of a folder with a ``metadata.tsv`` whose text has no word of the vocabulary: other speech."""
    known, clips = set(vocabulary), []
    for line in (folder / "metadata.tsv").read_text(encoding="utf-8").splitlines():
        name, *texts = line.split("\t")
        file = folder / f"{name}.flac"
        words = "".join(c if c.isalpha() else " " for c in " ".join(texts).lower()).split()
        if file.exists() and not known.intersection(words):
            clips.append(to_clip(read_audio(file), (), folder.name))
    return clips


def save(clips: list[Clip], file: Path) -> None:
    """Write them as one file, whole or not at all."""
    new = file.with_suffix(".new.npz")
    np.savez(
        new,
        samples=np.concatenate([clip.samples for clip in clips]),
        lengths=np.array([len(clip.samples) for clip in clips]),
        words=np.array([" ".join(clip.words) for clip in clips]),
        speakers=np.array([clip.speaker for clip in clips]),
    )
    new.replace(file)


def load(file: Path) -> list[Clip]:
    """Read what `save` wrote."""
    with np.load(file, allow_pickle=False) as kept:
        pieces = np.split(kept["samples"], np.cumsum(kept["lengths"])[:-1])
        said = zip(pieces, kept["words"], kept["speakers"], strict=True)
        return [Clip(samples, tuple(str(words).split()), str(speaker)) for samples, words, speaker in said]
