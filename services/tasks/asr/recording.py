"""Recordings: decoded in blocks, cut where nobody speaks, and written down in order, in memory that does not grow."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from services.core.audio import Block, blocks
from services.core.catalog import ModelSpec
from services.core.conversing import Submit
from services.core.speech import Recognition, Recognized, Recognizer
from services.tasks.asr.model import Model, item_of
from services.tasks.asr.parts import PartWriter, whole
from services.tasks.asr.schema import TranscribePart, TranscribeRequest, TranscribeResponse
from services.tasks.asr.voice import Listener, Stretch

_AHEAD = 16
"""Stretches of one recording that are with the recogniser at the same time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a block brought.

    Args:
        stretches: that ended in it.
        position: seconds of the recording of which all stretches are known.
        total: seconds of the recording, if the file tells.
    """

    stretches: Sequence[Stretch]
    position: float
    total: float | None


Work = tuple[Stretch, "asyncio.Future[Recognized]"]


class RecordingPipeline:
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

    def whole(self, request: TranscribeRequest, parts: Sequence[TranscribePart]) -> TranscribeResponse:
        """The parts of a recording as one."""
        return whole(parts)

    async def converse(
        self, first: TranscribeRequest, requests: AsyncGenerator[TranscribeRequest], submit: Submit
    ) -> AsyncGenerator[TranscribePart]:
        """A part for each stretch of speech, and for what is quiet."""
        recognition = self.model.plan(first)
        write = PartWriter(self.model.id, self.model.writer(first))
        source = await self.model.aside(partial(blocks, first.audio, raw=first.pcm))
        waiting: deque[Work] = deque()
        try:
            async with aclosing(self._listen(source)) as listening:
                async for heard in listening:
                    waiting.extend(_submit(heard.stretches, recognition, submit))
                    while waiting and (len(waiting) > _AHEAD or waiting[0][1].done()):
                        stretch, found = waiting.popleft()
                        yield write.stretch(await found, stretch, heard.total)
                    if not waiting:
                        yield write.quiet(heard.position, heard.total)
            while waiting:
                stretch, found = waiting.popleft()
                yield write.stretch(await found, stretch, heard.total)
            yield write.end(heard.position)
        finally:
            for _, found in waiting:
                found.cancel()

    async def _listen(self, source: Generator[Block, None, None]) -> AsyncGenerator[Heard]:
        """All stretches of a recording, as they end; the last is told of with no block left."""
        listener, step = self.model.listener(), None
        try:
            while True:
                step = asyncio.ensure_future(self.model.aside(partial(_hear, source, listener)))
                heard = await asyncio.shield(step)
                if heard is None:
                    break
                yield heard
            yield Heard(listener.flush(), listener.heard, listener.heard)
        finally:
            if step and not step.done():
                await step  # its thread still reads the source
            source.close()


def _hear(source: Generator[Block, None, None], listener: Listener) -> Heard | None:
    block = next(source, None)
    if block is None:
        return None
    stretches = listener.feed(block.samples)
    return Heard(stretches, listener.known, block.total)


def _submit(stretches: Sequence[Stretch], recognition: Recognition, submit: Submit) -> list[Work]:
    return [(stretch, asyncio.ensure_future(submit(item_of(stretch, recognition)))) for stretch in stretches]
