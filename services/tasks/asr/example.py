"""Recordings as live streams: raw samples, each piece when its last sample would have been spoken."""

from collections.abc import Iterator

from services.core.audio import SPEECH_RATE, Samples, decode
from services.core.task import Timed
from services.tasks.asr import EXAMPLE
from services.tasks.asr.schema import StreamConfig, StreamTranscribeRequest

_PIECE = 0.1
"""Seconds of sound in a request."""


def live() -> Iterator[Timed]:
    """The example. It ends before its last words are known to be over, so that a final result follows."""
    return played(decode(EXAMPLE.audio))


def played(samples: Samples, piece: float = _PIECE) -> Iterator[Timed]:
    """Mono samples at 16 kHz, with interim results; ``piece`` is in seconds."""
    config = StreamConfig(format="f32le", sample_rate=SPEECH_RATE, interim_results=True)
    yield Timed(0.0, StreamTranscribeRequest(config=config))
    size = round(piece * SPEECH_RATE)
    for start in range(0, len(samples), size):
        some = samples[start : start + size]
        yield Timed((start + len(some)) / SPEECH_RATE, StreamTranscribeRequest(audio=some.tobytes()))
