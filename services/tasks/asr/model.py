"""One loaded model, as recordings and live streams share it: recogniser, voice detector, threads to listen on."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from services.core.audio import SPEECH_RATE
from services.core.catalog import ModelSpec
from services.core.queueing import Item
from services.core.speech import Recognition, Recognized, Recognizer, Utterance
from services.tasks.asr.options import Options
from services.tasks.asr.planning import able, plan
from services.tasks.asr.voice import Endpointing, Listener, Stretch, VoiceDetector
from services.tasks.asr.writing import Writer

T = TypeVar("T")

_COST_RATE = 100
"""Units of cost in a second of speech."""

_LISTENING = 2
"""Threads that decode and listen; each takes a thousandth of the time that the sound lasts."""


@dataclass(frozen=True, slots=True)
class Model:
    """What serves.

    Args:
        id: as answers carry it.
        recognizer: its engine.
        detector: finds speech.
        threads: for what takes time and is no engine's work.
    """

    id: str
    recognizer: Recognizer
    detector: VoiceDetector
    threads: ThreadPoolExecutor

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Recognizer) -> Self:
        """From its artefact folder.

        Raises:
            ValueError: its catalog entry says that it is able to do something else than it is.
        """
        abilities = able(engine.abilities)
        if abilities != set(spec.abilities):
            raise ValueError(f"{spec.id}: its abilities in the catalog must be {sorted(abilities)}")
        threads = ThreadPoolExecutor(_LISTENING, thread_name_prefix="listen")
        return cls(spec.id, engine, VoiceDetector(artefact / "vad.onnx"), threads)

    def plan(self, options: Options) -> Recognition:
        """How utterances of a call are recognised. Raises ServingError."""
        return plan(options, self.recognizer, self.id)

    def listener(self, silence: float | None = None) -> Listener:
        """Cuts a stream into what the recogniser can take."""
        rule = Endpointing(longest=self.recognizer.abilities.seconds)
        return Listener(self.detector, rule if silence is None else Endpointing(silence=silence, longest=rule.longest))

    def writer(self, options: Options) -> Writer:
        """Writes what it recognises."""
        return Writer(options.style)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do what takes time, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def run(self, payloads: Sequence[Utterance]) -> Sequence[Recognized]:
        """Recognise a batch."""
        return self.recognizer.run(payloads)

    def warm_up(self) -> None:
        """Do once what is slow the first time."""
        self.run([Utterance(np.zeros(SPEECH_RATE, np.float32))])

    def close(self) -> None:
        """Free the engine."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.recognizer.close()


def item_of(stretch: Stretch, recognition: Recognition) -> Item:
    """A stretch of speech as work; its cost is its hundredths of a second."""
    utterance = Utterance(stretch.samples, recognition)
    return Item(utterance, max(1, round(utterance.seconds * _COST_RATE)))
