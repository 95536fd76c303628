"""A pipeline without a server around it: recordings written down, and live streams played in the time they last."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from services.core.audio import SPEECH_RATE, Samples
from services.core.conversing import ConversingPipeline, once
from services.core.queueing import Item
from services.tasks.asr.example import played
from services.tasks.asr.live import LivePipeline
from services.tasks.asr.model import Model
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.schema import (
    StreamTranscribeRequest,
    StreamTranscribeResponse,
    TranscribeRequest,
    TranscribeResponse,
)
from services.tasks.asr.voice import speech_of

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
    speech = await model.aside(partial(speech_of, sound, model.detector))
    if speech is None:
        return None
    begins, ends = speech
    begun = time.monotonic()
    heard = [(time.monotonic() - begun, answer) async for answer in _answers(model, sound)]
    finals = [(at, answer) for at, answer in heard if answer.is_final]
    if not finals:
        return None
    return Latency(
        first=heard[0][0] - begins,
        final=finals[-1][0] - ends,
        text=" ".join(answer.segment.text for _, answer in finals),
    )


async def _answers(model: Model, samples: Samples) -> AsyncGenerator[StreamTranscribeResponse]:
    pipeline, requests = LivePipeline(model), _live(samples)
    async with aclosing(pipeline.converse(await anext(requests), requests, _Lane(pipeline))) as answers:
        async for answer in answers:
            yield answer


async def _live(samples: Samples) -> AsyncGenerator[StreamTranscribeRequest]:
    begun = time.monotonic()
    for due, request in played(samples):
        await asyncio.sleep(begun + due - time.monotonic())
        yield cast("StreamTranscribeRequest", request)
