"""What is said to the server: recordings of a known length, and where speech in them begins and ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.sources import WEIGHTS
from services.core.audio import SPEECH_RATE, Samples, decode
from services.tasks.asr import TASK
from services.tasks.asr.schema import TranscribeRequest
from services.tasks.asr.voice import VoiceDetector, speech_of

_SUFFIXES = {".flac", ".wav", ".ogg", ".mp3"}

_PAUSE = 1.0
"""Seconds of silence after a recording: a live stream goes on."""


@dataclass(frozen=True)
class Clip:
    """A recording.

    Args:
        samples: at 16 kHz, silence after the speech included.
        begins: seconds at which somebody begins to speak.
        ends: seconds at which nobody does any more.
    """

    samples: Samples
    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SPEECH_RATE


def read_clips(folder: Path | None, count: int) -> list[Clip]:
    """So many recordings with speech, the first of a folder by name, or the task's example."""
    detector = VoiceDetector(WEIGHTS / "silero-vad" / "silero_vad_16k_sequence.onnx")
    found = (clip for sound in _sounds(folder) if (clip := _clip(sound, detector)))
    clips = [clip for clip, _ in zip(found, range(count), strict=False)]
    return [clips[number % len(clips)] for number in range(count)]


def _sounds(folder: Path | None) -> Iterator[Samples]:
    if folder is None:
        example = TASK.examples[0]
        assert isinstance(example, TranscribeRequest)  # noqa: S101  # of this task, it is
        yield decode(bytes(example.audio))
        return
    for file in sorted(folder.iterdir()):
        if file.suffix in _SUFFIXES:
            yield decode(file.read_bytes())


def _clip(sound: Samples, detector: VoiceDetector) -> Clip | None:
    samples = np.concatenate((sound, np.zeros(round(_PAUSE * SPEECH_RATE), np.float32)))
    speech = speech_of(samples, detector)
    return Clip(samples, *speech) if speech else None


def total(clips: Sequence[Clip]) -> float:
    """Seconds of all of them."""
    return sum(clip.seconds for clip in clips)
