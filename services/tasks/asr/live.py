"""Live streams: utterances written down as they end, and what seems to be said while they are."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Self

from services.core.audio import PcmStream
from services.core.catalog import ModelSpec
from services.core.conversing import Submit
from services.core.errors import Code, ServingError
from services.core.speech import Recognizer
from services.tasks.asr.hearing import Hearing
from services.tasks.asr.model import Model
from services.tasks.asr.schema import StreamConfig, StreamTranscribeRequest, StreamTranscribeResponse
from services.tasks.asr.utterances import Utterances


class LivePipeline:
    """Serves one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.run = model.run
        self.warm_up = model.warm_up
        self.close = model.close

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Recognizer) -> Self:
        """Serve ``spec`` from its artefact folder."""
        return cls(Model.load(spec, artefact, engine))

    async def converse(
        self, first: StreamTranscribeRequest, requests: AsyncGenerator[StreamTranscribeRequest], submit: Submit
    ) -> AsyncGenerator[StreamTranscribeResponse]:
        """Interim results, if asked for, and a final one for each utterance; the last ones after the last request.

        What was said before an error is written down before it is raised.
        """
        config = _config(first)
        recognition = self.model.plan(config)
        hearing = Hearing(PcmStream(config.raw), self.model.listener(config.endpoint_silence), self.model.aside)
        async with hearing.of(_audio(first, requests)):
            utterances = Utterances(self.model, config, recognition, hearing, submit)
            async with aclosing(utterances.answers()) as answers:
                async for answer in answers:
                    yield answer


def _config(first: StreamTranscribeRequest) -> StreamConfig:
    if first.config is None:
        raise ServingError(Code.INVALID_ARGUMENT, "Send a config in the first message, and audio after it.", "config")
    return first.config


async def _audio(
    first: StreamTranscribeRequest, requests: AsyncGenerator[StreamTranscribeRequest]
) -> AsyncGenerator[bytes]:
    yield bytes(first.audio)
    async for request in requests:
        if request.config is not None:
            raise ServingError(Code.INVALID_ARGUMENT, "Send the config in the first message only.", "config")
        yield bytes(request.audio)
