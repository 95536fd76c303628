"""A recogniser whose texts tell its utterances apart, and a model around it with the real voice detector."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.sources import WEIGHTS
from services.core.audio import SPEECH_RATE, Samples, decode
from services.core.speech import Abilities, Alternative, Recognition, Recognized, Segment, Utterance, Word
from services.tasks.asr import TASK
from services.tasks.asr.model import Model
from services.tasks.asr.voice import VoiceDetector

EXAMPLE = bytes(TASK.examples[0].audio)
SPEECH = decode(EXAMPLE)

DETECTOR = VoiceDetector(WEIGHTS / "silero-vad" / "silero_vad_16k_sequence.onnx")


class DigestRecognizer:
    """Says how long an utterance is, and a digest of its samples: any difference shows."""

    abilities = Abilities(seconds=20.0, languages=("en", "de"), hypotheses=3, word_times=True)

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def check(self, recognition: Recognition) -> None:
        """Anything goes."""

    def run(self, batch: Sequence[Utterance]) -> Sequence[Recognized]:
        """Takes its time."""
        time.sleep(self._seconds * len(batch))
        return [_recognized(utterance) for utterance in batch]

    def close(self) -> None:
        """Nothing to free."""


def _recognized(utterance: Utterance) -> Recognized:
    digest = hashlib.sha256(utterance.samples.tobytes()).hexdigest()[:8]
    end = utterance.seconds
    words = (Word(digest, 0.0, end, 0.5),) if utterance.recognition.word_times else ()
    others = tuple(Alternative(f"other {n}", -n) for n in range(1, utterance.recognition.hypotheses))
    return Recognized((Segment(digest, 0.0, end, -0.5, words),), utterance.recognition.language or "en", 1.0, others)


def model(seconds: float = 0.0) -> Model:
    """It, with the real voice detector."""
    return Model("digest@1", DigestRecognizer(seconds), DETECTOR, ThreadPoolExecutor(2))


def speech(times: int, gap: float = 1.0) -> Samples:
    """The example so many times, with silence before, between and after."""
    silence = np.zeros(round(gap * SPEECH_RATE), np.float32)
    return np.concatenate([silence, *[part for _ in range(times) for part in (SPEECH, silence)]])
