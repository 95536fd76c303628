"""The load on a server: recordings asked for whole, and live streams sent as a microphone would."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from loadtests.live.sound import Clip, total
from services.clients import AsyncGrpcClient
from services.core.audio import SPEECH_RATE
from services.tasks.asr import STREAM_TRANSCRIBE, TRANSCRIBE
from services.tasks.asr.example import played
from services.tasks.asr.schema import StreamTranscribeRequest, TranscribeRequest

_CHUNK = 0.05
"""Seconds of sound in a message."""


@dataclass(frozen=True)
class Heard:
    """Of live streams.

    Args:
        rate: seconds of sound per second, all streams together.
        first: seconds from when speech begins to the first result of it, of each stream.
        final: seconds from when speech ends to its last final result, of each stream.
    """

    rate: float
    first: tuple[float, ...]
    final: tuple[float, ...]


async def transcribe(port: int, clips: Sequence[Clip], callers: int) -> float:
    """Seconds of sound written down per second, by so many callers at once."""
    waiting = list(clips)

    async def caller(client: AsyncGrpcClient) -> None:
        while waiting:
            clip = waiting.pop()
            sound = clip.samples.tobytes()
            answer = await client.call(
                TRANSCRIBE, TranscribeRequest(audio=sound, format="f32le", sample_rate=SPEECH_RATE)
            )
            if not answer.text:
                raise ValueError("nothing was written down")

    async with AsyncGrpcClient(f"127.0.0.1:{port}") as client:
        started = time.perf_counter()
        await asyncio.gather(*(caller(client) for _ in range(callers)))
        return total(clips) / (time.perf_counter() - started)


async def listen(port: int, clips: Sequence[Clip], streams: int) -> Heard:
    """Play the clips, so many at a time."""
    async with AsyncGrpcClient(f"127.0.0.1:{port}") as client:
        started = time.perf_counter()
        found: list[tuple[float, float]] = []
        for number in range(0, len(clips), streams):
            found += await asyncio.gather(*(_play(client, clip) for clip in clips[number : number + streams]))
        rate = total(clips) / (time.perf_counter() - started)
    return Heard(rate, tuple(first for first, _ in found), tuple(final for _, final in found))


async def _play(client: AsyncGrpcClient, clip: Clip) -> tuple[float, float]:
    """Seconds to the first result, and to the last final one."""
    started = time.perf_counter()
    first = final = 0.0
    async with aclosing(client.converse(STREAM_TRANSCRIBE, _requests(clip))) as answers:
        async for answer in answers:
            now = time.perf_counter() - started
            first = first or now - clip.begins
            if answer.is_final:
                final = now - clip.ends
    if not final:
        raise ValueError("nothing was written down")
    return first, final


async def _requests(clip: Clip) -> AsyncGenerator[StreamTranscribeRequest]:
    started = time.perf_counter()
    for due, request in played(clip.samples, _CHUNK):
        await asyncio.sleep(started + due - time.perf_counter())
        yield cast("StreamTranscribeRequest", request)
