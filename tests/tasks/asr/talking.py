"""Pipelines asked without a server around them."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from services.core.audio import Samples
from services.core.conversing import ConversingPipeline, once
from services.core.queueing import Item
from services.tasks.asr.live import LivePipeline
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.schema import (
    StreamConfig,
    StreamTranscribeRequest,
    StreamTranscribeResponse,
    TranscribePart,
    TranscribeRequest,
)


class Lanes:
    """Runs items on threads, and counts."""

    def __init__(self, pipeline: ConversingPipeline) -> None:
        self._run = pipeline.run
        self.submitted = self.running = self.most = 0

    async def __call__(self, item: Item, *, patient: bool = True) -> object:
        self.submitted += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            (output,) = await asyncio.to_thread(self._run, [item.payload])
        finally:
            self.running -= 1
        return output


async def parts(pipeline: RecordingPipeline, request: TranscribeRequest) -> list[TranscribePart]:
    async with aclosing(pipeline.converse(request, once(request), Lanes(pipeline))) as found:
        return [part async for part in found]


async def sent(
    requests: Iterable[StreamTranscribeRequest], pause: float = 0.0
) -> AsyncGenerator[StreamTranscribeRequest]:
    for request in requests:
        await asyncio.sleep(pause)
        yield request


def messages(samples: Samples, size: int = 1600) -> list[StreamTranscribeRequest]:
    starts = range(0, len(samples), size)
    return [StreamTranscribeRequest(audio=samples[start : start + size].tobytes()) for start in starts]


def config(**options: object) -> StreamConfig:
    return StreamConfig.model_validate({"format": "f32le", "sample_rate": 16_000, **options})


async def live(
    pipeline: LivePipeline, requests: Sequence[StreamTranscribeRequest], pause: float = 0.0, **options: object
) -> list[StreamTranscribeResponse]:
    first = StreamTranscribeRequest(config=config(**options))
    async with aclosing(pipeline.converse(first, sent(requests, pause), Lanes(pipeline))) as found:
        return [answer async for answer in found]
