"""The example recording as a live stream: raw samples, each piece when its last sample would have been spoken."""

from collections.abc import Iterator

from services.core.audio import SPEECH_RATE, decode
from services.core.task import Timed
from services.tasks.asr import EXAMPLE
from services.tasks.asr.schema import StreamConfig, StreamTranscribeRequest

_PIECE = 0.1
"""Seconds of sound in a request."""


def live() -> Iterator[Timed]:
    """It ends before its last words are known to be over, so that a final result follows."""
    config = StreamConfig(format="f32le", sample_rate=SPEECH_RATE, interim_results=True)
    yield Timed(0.0, StreamTranscribeRequest(config=config))
    samples, size = decode(EXAMPLE.audio), round(_PIECE * SPEECH_RATE)
    for start in range(0, len(samples), size):
        piece = samples[start : start + size]
        yield Timed((start + len(piece)) / SPEECH_RATE, StreamTranscribeRequest(audio=piece.tobytes()))
