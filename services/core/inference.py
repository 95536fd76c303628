"""InferenceService: the one core behind every protocol.

    resolve the model -> prepare the items -> admit and batch -> finish the answer

Edges ask for a `Backend.refusal` before they read a request, where they can, since refusing must cost next to nothing;
the model's own queue is looked at before its items are prepared, and again when they are.

`Backend` is what an edge sees. InferenceService is the backend where the models are; a gateway has another one
that forwards to it. Knows no protocol, no framework and no task.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from services.core.batching import Batcher
from services.core.catalog import Catalog, ModelSpec
from services.core.context import CallContext, Priority
from services.core.conversing import ConversingPipeline, PatientSubmit, WholePipeline, once
from services.core.errors import Code, ServingError, too_late
from services.core.generation.continuous import ContinuousBatcher
from services.core.pipelines import GeneratingPipeline, Pipeline, StreamingPipeline
from services.core.queueing import Item
from services.core.schema import Request, Response
from services.core.task import Method, Task
from services.core.telemetry import (
    AUDIO_SECONDS,
    CACHE_BLOCKS,
    QUEUE_DEPTH,
    REALTIME_FACTOR,
    RUNNING,
    TOKENS,
    BatchKey,
    GenerationTelemetry,
    Meter,
)

PREPARE_INLINE = 4096
"""Characters up to which a request is prepared on the event loop (about 1 ms); longer ones go to a thread."""

PREPARE_WAITING = 32
"""Requests that may wait for such a thread; more are refused as OVERLOADED."""


class Backend(Protocol):
    """What answers a request."""

    async def infer(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        """The answer. Raises ServingError."""

    def stream(self, task: Task, method: Method, request: Request, context: CallContext) -> AsyncGenerator[Response]:
        """The parts of a streamed answer, in order. Raises ServingError; close it to stop the work."""

    def converse(
        self, task: Task, method: Method, requests: AsyncGenerator[Request], context: CallContext
    ) -> AsyncGenerator[Response]:
        """Answers while requests still come. Raises ServingError; close it to stop the work. Closes ``requests``."""

    def refusal(self, task: Task, method: Method, deadline: float) -> ServingError | None:
        """Why a call that came now would be refused, whatever it asks, if it is sure to be."""

    async def ready(self) -> Mapping[str, bool]:
        """Whether each task can answer now, by name."""


class Executor(Protocol):
    """Where items run: a `Batcher`, or a `ContinuousBatcher`."""

    def refusal(self, key: BatchKey, deadline: float) -> ServingError | None:
        """What `submit` would raise now for a single item."""

    async def submit(self, key: BatchKey, items: Sequence[Item], deadline: float, priority: Priority) -> Sequence[Any]:
        """The outputs of the items, in order."""

    def stream(
        self, key: BatchKey, items: Sequence[Item], deadline: float, priority: Priority
    ) -> AsyncGenerator[tuple[int, Any]]:
        """The same one by one, with the index of the item."""


class Loaded(NamedTuple):
    """A model ready to do one thing, whole or in parts: what it is asked for by several methods shares runs."""

    spec: ModelSpec
    verbs: tuple[str, ...]
    pipeline: Pipeline | ConversingPipeline

    @property
    def key(self) -> BatchKey:
        """Its queue."""
        return BatchKey(self.spec.task, self.spec.id, self.verbs[0])


class InferenceService:
    """Answers requests with models loaded in this process.

    Args:
        catalog: finds the model a request names.
        loaded: the models, once per method.
        batcher: where they run, but for those that generate.
        meter: where token counts go.
    """

    def __init__(self, catalog: Catalog, loaded: Sequence[Loaded], batcher: Batcher, meter: Meter) -> None:
        self._catalog = catalog
        self._loaded = {(model.spec.task, model.spec.id, verb): model for model in loaded for verb in model.verbs}
        self._batcher = batcher
        self._continuous = ContinuousBatcher(GenerationTelemetry(meter))
        self._generating: list[BatchKey] = []
        self._executors: dict[BatchKey, Executor] = {}
        self._conversing = {
            (model.spec.task, verb)
            for model in loaded
            for verb in model.verbs
            if isinstance(model.pipeline, ConversingPipeline)
        }
        self._meter = meter
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="prepare")
        self._preparing = 0
        self._keys: dict[tuple[str, str], list[BatchKey]] = {}
        for model in loaded:
            for verb in model.verbs:
                self._keys.setdefault((model.key.task, verb), []).append(model.key)
            self._executors[model.key] = self._register(model)

    def _register(self, model: Loaded) -> Executor:
        labels = (model.key.task, model.key.model)
        if isinstance(model.pipeline, GeneratingPipeline):
            generating, spec = self._continuous, model.spec
            self._generating.append(model.key)
            generating.register(model.key, model.pipeline.generator, spec.batch, spec.generation)
            self._meter.watch(QUEUE_DEPTH, partial(generating.depth, model.key), *labels)
            self._meter.watch(RUNNING, partial(generating.running, model.key), *labels)
            self._meter.watch(CACHE_BLOCKS, partial(generating.blocks, model.key), *labels)
            return generating
        self._batcher.register(model.key, model.pipeline.run, model.spec.batch)
        self._meter.watch(QUEUE_DEPTH, partial(self._batcher.depth, model.key), *labels)
        return self._batcher

    async def infer(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        """The answer of the model the request names, or of the task's default."""
        if (task.name, method.verb) in self._conversing:
            return await self._whole(task, method, request, context)
        key, pipeline = self._find(task, method, request, context)
        items = await self._items(pipeline, request, context)
        outputs = await self._executors[key].submit(key, items, context.deadline, context.priority)
        response = pipeline.finish(request, items, outputs)
        self._count(key, response)
        return response

    async def stream(
        self, task: Task, method: Method, request: Request, context: CallContext
    ) -> AsyncGenerator[Response]:
        """The same in parts, each as soon as it and all before it are there."""
        if (task.name, method.verb) in self._conversing:
            async with aclosing(self.converse(task, method, once(request), context)) as parts:
                async for part in parts:
                    yield part
            return
        key, pipeline = self._find(task, method, request, context)
        items = await self._items(pipeline, request, context)
        outputs = self._executors[key].stream(key, items, context.deadline, context.priority)
        async with aclosing(outputs):
            async for index, output in outputs:
                part = cast("StreamingPipeline", pipeline).part(request, items, index, output)
                self._count(key, part)
                yield part

    async def converse(
        self, task: Task, method: Method, requests: AsyncGenerator[Request], context: CallContext
    ) -> AsyncGenerator[Response]:
        """Answers while requests still come; the first says which model is meant."""
        async with aclosing(requests):
            first = await anext(requests, None)
            if first is None:
                raise ServingError(Code.INVALID_ARGUMENT, "The stream ended before its first message.")
            key, pipeline = self._find(task, method, first, context)
            submit = PatientSubmit(self._executors[key].submit, key, context)
            talk = cast("ConversingPipeline", cast("object", pipeline)).converse(first, requests, submit)
            async with aclosing(talk):
                async for part in talk:
                    self._count(key, part)
                    yield part

    async def _whole(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        """What a conversing pipeline answers to a single request, in one."""
        started = time.monotonic()
        model = self._model(task, method, request)
        async with aclosing(self.converse(task, method, once(request), context)) as answers:
            parts = [part async for part in answers]
        response = cast("WholePipeline", model.pipeline).whole(request, parts)
        if seconds := response.usage.audio_seconds:
            self._meter.record(REALTIME_FACTOR, (time.monotonic() - started) / seconds, task.name, model.spec.id)
        return response

    def _count(self, key: BatchKey, response: Response) -> None:
        for kind, tokens in response.usage.by_kind.items():
            self._meter.record(TOKENS, tokens, key.task, key.model, kind)
        if seconds := response.usage.audio_seconds:
            self._meter.record(AUDIO_SECONDS, seconds, key.task, key.model, response.usage.audio_direction)

    def _find(self, task: Task, method: Method, request: Request, context: CallContext) -> tuple[BatchKey, Pipeline]:
        """The model that the request means, if its queue has room."""
        model = self._model(task, method, request)
        error = self._executors[model.key].refusal(model.key, context.deadline)
        if error:  # this queue may be full, and others not
            raise error
        return model.key, cast("Pipeline", model.pipeline)

    def _model(self, task: Task, method: Method, request: Request) -> Loaded:
        spec = self._catalog.resolve(task.name, request.model, request.suits)
        return self._loaded[task.name, spec.id, method.verb]

    def refusal(self, task: Task, method: Method, deadline: float) -> ServingError | None:
        """Why any of the task's models would refuse; None while one of them has room."""
        error = None
        for key in self._keys.get((task.name, method.verb), ()):
            error = self._executors[key].refusal(key, deadline)
            if error is None:
                return None
        return error

    async def _items(self, pipeline: Pipeline, request: Request, context: CallContext) -> Sequence[Item]:
        if request.size <= PREPARE_INLINE:
            return pipeline.prepare(request)
        return await self._prepare(pipeline, request, context)

    async def _prepare(self, pipeline: Pipeline, request: Request, context: CallContext) -> Sequence[Item]:
        """Prepare a long request on a thread of our own: the loop's shared ones may be held by others."""
        if self._preparing >= PREPARE_WAITING:
            raise ServingError(
                Code.OVERLOADED, "Too many long requests at once; retry after the time given.", None, 1.0
            )
        self._preparing += 1
        work = asyncio.get_running_loop().run_in_executor(self._threads, pipeline.prepare, request)
        work.add_done_callback(self._prepared)
        try:
            async with asyncio.timeout(context.remaining()):
                return await asyncio.shield(work)
        except TimeoutError:
            work.cancel()  # takes it out of the line, if it has not begun
            raise too_late() from None

    def _prepared(self, work: "asyncio.Future[Sequence[Item]]") -> None:
        self._preparing -= 1
        if not work.cancelled():
            work.exception()  # seen here, so that nobody complains when its caller has gone

    async def ready(self) -> Mapping[str, bool]:
        """Models are loaded before this object exists, so a task is ready until an engine of it has died."""
        dead = {key.task for key in self._generating if not self._continuous.alive(key)}
        return {task: task not in dead for task, *_ in self._loaded}

    @property
    def lanes(self) -> tuple[int, ...]:
        """Ids of the threads that run engines."""
        return self._batcher.lanes + self._continuous.lanes

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return self._batcher.waiting + self._continuous.waiting

    @property
    def work_seconds(self) -> float:
        """Engine time on hand, waiting or running."""
        return self._batcher.work_seconds + self._continuous.work_seconds

    def abort(self) -> None:
        """Fail what still waits: the time to drain is over. Call on the event loop."""
        self._batcher.abort()
        self._continuous.abort()

    def close(self) -> None:
        """Finish what waits, then free the engines."""
        self._batcher.close()
        self._continuous.close()
        self._threads.shutdown(cancel_futures=True)
        for model in self._loaded.values():
            model.pipeline.close()
