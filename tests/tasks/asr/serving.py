"""A real server of a recogniser whose texts tell its utterances apart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.core.inference import Loaded
from services.core.settings import Settings
from services.tasks.asr import STREAM_TRANSCRIBE, TASK, TRANSCRIBE, TRANSCRIBE_PARTS
from services.tasks.asr.live import LivePipeline
from services.tasks.asr.recording import RecordingPipeline
from tests.serving import Server, fake_spec, free_port, running
from tests.tasks.asr.recognizing import model


@asynccontextmanager
async def serve_asr(**settings: Any) -> AsyncIterator[Server]:
    """On free ports."""
    chosen = Settings(**{"rest_port": free_port(), "grpc_port": free_port(), "drain_seconds": 2, **settings})
    spec, served = fake_spec("digest", "asr", default=True, abilities=("alternatives", "word_times")), model()
    loaded = [
        Loaded(spec, (TRANSCRIBE.verb, TRANSCRIBE_PARTS.verb), RecordingPipeline(served)),
        Loaded(spec, (STREAM_TRANSCRIBE.verb,), LivePipeline(served)),
    ]
    async with running([TASK], loaded, chosen) as server:
        yield server
