"""A pipeline without a server around it: recordings written down, and live streams played in the time they last."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from services.core.audio import SPEECH_RATE, Samples
from services.core.conversing import ConversingPipeline, once
from services.core.queueing import Item
from services.tasks.asr.live import LivePipeline
from services.tasks.asr.model import Model
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.schema import (
    StreamConfig,
    StreamTranscribeRequest,
    StreamTranscribeResponse,
    TranscribeRequest,
    TranscribeResponse,
)
from services.tasks.asr.voice import Endpointing

_CHUNK = 0.1
"""Seconds of sound in a message."""

_AFTER = 1.0
"""Seconds of silence after a recording that is played: a live stream goes on."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How soon a live stream's results are there.

    Args:
        first: seconds from when speech begins to the first result of it.
        final: seconds from when the last utterance ends to its final result.
        text: all final results.
    """

    first: float
    final: float
    text: str


class _Lane:
    """Runs items one by one, in threads."""

    def __init__(self, pipeline: ConversingPipeline) -> None:
        self._run = pipeline.run

    async def __call__(self, item: Item, *, patient: bool = True) -> object:
        (output,) = await asyncio.to_thread(self._run, [item.payload])
        return output


async def transcribe(pipeline: RecordingPipeline, request: TranscribeRequest) -> TranscribeResponse:
    """A recording's answer."""
    async with aclosing(pipeline.converse(request, once(request), _Lane(pipeline))) as parts:
        return pipeline.whole(request, [part async for part in parts])


async def play(model: Model, samples: Samples) -> Latency | None:
    """Play mono samples at 16 kHz as they would come live; None if nobody speaks in them."""
    sound = np.concatenate((samples, np.zeros(round(_AFTER * SPEECH_RATE), np.float32)))
    listener, rule = model.listener(), Endpointing()
    stretches = await model.aside(lambda: [*listener.feed(sound), *listener.flush()])
    if not stretches:
        return None
    begun = time.monotonic()
    heard = [(time.monotonic() - begun, answer) async for answer in _answers(model, sound)]
    finals = [(at, answer) for at, answer in heard if answer.is_final]
    if not finals:
        return None
    spoken_from = stretches[0].start + min(rule.before, stretches[0].start)
    return Latency(
        first=heard[0][0] - spoken_from,
        final=finals[-1][0] - (stretches[-1].end - rule.after),
        text=" ".join(answer.segment.text for _, answer in finals),
    )


async def _answers(model: Model, samples: Samples) -> AsyncGenerator[StreamTranscribeResponse]:
    pipeline = LivePipeline(model)
    config = StreamConfig(format="f32le", sample_rate=SPEECH_RATE, interim_results=True)
    talk = pipeline.converse(StreamTranscribeRequest(config=config), _chunks(samples), _Lane(pipeline))
    async with aclosing(talk) as answers:
        async for answer in answers:
            yield answer


async def _chunks(samples: Samples) -> AsyncGenerator[StreamTranscribeRequest]:
    """Each when its last sample would have been spoken."""
    size, begun = round(_CHUNK * SPEECH_RATE), time.monotonic()
    for start in range(0, len(samples), size):
        await asyncio.sleep(begun + (start + size) / SPEECH_RATE - time.monotonic())
        yield StreamTranscribeRequest(audio=samples[start : start + size].tobytes())
