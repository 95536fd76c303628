"""Speech recognition: recordings and live streams, written down."""

from pathlib import Path

from services.core.task import Kind, Method, Task
from services.tasks.asr.options import Options
from services.tasks.asr.schema import (
    StreamConfig,
    StreamTranscribeRequest,
    StreamTranscribeResponse,
    TranscribePart,
    TranscribeRequest,
    TranscribeResponse,
)

__all__ = [
    "EXAMPLE",
    "STREAM_TRANSCRIBE",
    "TASK",
    "TRANSCRIBE",
    "TRANSCRIBE_PARTS",
    "Options",
    "StreamConfig",
    "StreamTranscribeRequest",
    "StreamTranscribeResponse",
    "TranscribePart",
    "TranscribeRequest",
    "TranscribeResponse",
]

_RECORDINGS = "services.tasks.asr.recording:RecordingPipeline"

TRANSCRIBE = Method(
    verb="Transcribe",
    request=TranscribeRequest,
    response=TranscribeResponse,
    pipeline=_RECORDINGS,
)

TRANSCRIBE_PARTS = Method(
    verb="TranscribeParts",
    request=TranscribeRequest,
    response=TranscribePart,
    pipeline=_RECORDINGS,
    kind=Kind.SERVER_STREAM,
)

STREAM_TRANSCRIBE = Method(
    verb="StreamTranscribe",
    request=StreamTranscribeRequest,
    response=StreamTranscribeResponse,
    pipeline="services.tasks.asr.live:LivePipeline",
    kind=Kind.BIDI,
    idempotent=False,
    live_example="services.tasks.asr.example:live",
)

EXAMPLE = TranscribeRequest(audio=(Path(__file__).parent / "example.ogg").read_bytes())

TASK = Task(
    name="asr",
    methods=(TRANSCRIBE, TRANSCRIBE_PARTS, STREAM_TRANSCRIBE),
    examples=(EXAMPLE,),
    grpc_port=9009,
    evaluation="services.tasks.asr.evaluation:evaluate",
    dialects=("services.tasks.asr.openai:TRANSCRIPTIONS", "services.tasks.asr.openai:TRANSLATIONS"),
)
