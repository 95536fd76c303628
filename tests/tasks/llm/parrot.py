"""A backend that repeats what it is told, word by word, and servers of it: the API without a model."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from services.core.catalog import Catalog
from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.inference import Backend
from services.core.schema import Request, Response
from services.core.settings import Settings
from services.core.task import Method, Task
from services.edges.grpc import build_grpc_server
from services.edges.rest import RestApp, build_rest_app
from services.runtime.http_server import make_server
from services.runtime.lane_backend import LaneBackend
from services.runtime.meters import PrometheusMeter
from services.tasks.llm import TASK, GeneratePart, GenerateRequest, GenerateResponse
from services.tasks.llm.schema import Alternative, Choice, FinishReason, GenerationUsage, TokenLogprob
from tests.serving import fake_spec, free_port

MODEL = "parrot@1"
HOLD, FAIL, FULL = "hold", "fail", "full"


class Parrot:
    """Obeys some words: ``hold`` is waited on for ever, ``fail`` fails once something was said, ``full`` refuses."""

    def __init__(self) -> None:
        self.asked: list[GenerateRequest] = []
        self.working = 0

    async def infer(self, task: Task, method: Method, request: Request, context: CallContext) -> Response:
        parts = [part async for part in self.stream(task, method, request, context)]
        choices: dict[int, list[GeneratePart]] = {}
        for part in parts:
            choices.setdefault(part.index, []).append(part)
        usage = GenerationUsage(
            **{name: sum(getattr(part.usage, name) for part in parts) for name in GenerationUsage.model_fields}
        )
        return GenerateResponse(model=MODEL, usage=usage, choices=tuple(_choice(choices[i]) for i in sorted(choices)))

    async def stream(
        self, task: Task, method: Method, request: Any, context: CallContext
    ) -> AsyncGenerator[GeneratePart]:
        self.asked.append(request)
        words, reason = _words(request)
        if request.model not in (None, "parrot", MODEL):
            raise ServingError(Code.NOT_FOUND, f"No model {request.model}.", "model")
        if FULL in words:
            raise ServingError(Code.OVERLOADED, "Too much at once.", None, 1.0)
        self.working += 1
        try:
            for place, word in enumerate(words):
                for index in range(request.n):
                    yield _part(request, index, place, word, reason if place == len(words) - 1 else None)
                if HOLD in word:
                    await asyncio.sleep(context.remaining())
                if FAIL in word:
                    raise ServingError(Code.UNAVAILABLE, "The engine is gone.")
        finally:
            self.working -= 1

    def refusal(self, task: Task, method: Method, deadline: float) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {"llm": True}


def _words(request: GenerateRequest) -> tuple[list[str], FinishReason]:
    """What is said of it; each word begins with the space before it."""
    said = request.response_format.json_schema or request.prompt or request.messages[-1].content
    ends = [found for stop in request.stop if (found := said.find(stop)) >= 0]
    first, *others = said[: min(ends, default=None)].split(" ")
    words = [first, *(f" {word}" for word in others)]
    limit = request.max_tokens or len(words)
    return words[:limit], "stop" if len(words) <= limit else "length"


def _part(request: GenerateRequest, index: int, place: int, word: str, reason: FinishReason | None) -> GeneratePart:
    prompt = 7 if place == index == 0 else 0
    usage = GenerationUsage(tokens=1 + prompt, prompt_tokens=prompt, cached_tokens=prompt // 2, completion_tokens=1)
    logprobs: tuple[TokenLogprob, ...] = ()
    if request.logprobs is not None:
        top = [Alternative(token=f"{n}", bytes=(48 + n,), logprob=-float(n)) for n in range(request.logprobs)]
        logprobs = (TokenLogprob(token=word, bytes=tuple(word.encode()), logprob=float("-inf"), top=tuple(top)),)
    return GeneratePart(model=MODEL, index=index, text=word, usage=usage, finish_reason=reason, logprobs=logprobs)


def _choice(parts: list[GeneratePart]) -> Choice:
    return Choice(
        text="".join(part.text for part in parts),
        finish_reason=parts[-1].finish_reason or "stop",
        logprobs=tuple(token for part in parts for token in part.logprobs),
    )


class Lane:
    """The application below its task's prefix, as a replica has it."""

    def __init__(self, app: RestApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "root_path": f"/{TASK.name}"} if scope["type"] == "http" else scope, receive, send)

    def refusal(self, path: str, raw_headers: Any) -> None:
        return None


@dataclass(frozen=True)
class Served:
    """A running server."""

    backend: Parrot
    meter: PrometheusMeter
    url: str
    grpc_address: str
    http: httpx.AsyncClient

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=20, **options)

    async def post(self, route: str, body: bytes | Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(route, content=content)

    async def get(self, route: str) -> Any:
        return (await self.http.get(route)).json()


@asynccontextmanager
async def parrot(*, gateway: bool) -> AsyncIterator[Served]:
    """Served at its own port, or behind a gateway."""
    backend = Parrot()
    async with _serving(backend, lane=gateway) as served:
        if not gateway:
            yield served
            return
        forwarding = LaneBackend((TASK,), Settings(rest_port=int(served.url.rpartition(":")[2])))
        async with _serving(forwarding, parrot=backend) as front:
            yield front
        await forwarding.close()


@asynccontextmanager
async def _serving(backend: Any, parrot: Parrot | None = None, *, lane: bool = False) -> AsyncIterator[Served]:
    settings = Settings(rest_port=free_port(), grpc_port=free_port(), drain_seconds=1)
    meter, catalog = PrometheusMeter(), Catalog([fake_spec("parrot", "llm", default=True)])
    checked: Backend = backend
    app = build_rest_app((TASK,), checked, catalog, meter, settings)
    server = make_server(Lane(app) if lane else app, settings, host=settings.host, port=settings.rest_port)
    grpc_server = build_grpc_server((TASK,), checked, meter, settings)
    await grpc_server.server.start()
    running = asyncio.create_task(server.serve())
    await server.listening.wait()
    try:
        address, url = f"127.0.0.1:{settings.grpc_port}", f"http://127.0.0.1:{settings.rest_port}"
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield Served(parrot or backend, meter, url, address, http)
    finally:
        server.should_exit = True
        await asyncio.gather(running, grpc_server.stop(1))


async def until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
