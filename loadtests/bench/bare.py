"""The yardstick server: what one would write by hand around the same batcher, tokenizer and engine.

One process, FastAPI on uvicorn, no records, no deadlines or priorities from callers, no metrics, no error shapes.
Run as ``python -m loadtests.bench.bare <port> <task> ...``.
"""

import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from loadtests.bench.direct import Model, load
from services.core.batching import Batcher
from services.core.queueing import Item
from services.core.tokenizer import Tokenizer

DEADLINE = 60.0


def add_echo(app: FastAPI, batcher: Callable[[], Batcher], model: Model) -> None:
    """``POST /v1/echo``."""

    @app.post("/v1/echo")
    async def echo(request: Request) -> Response:
        text = json.loads(await request.body())["text"]
        deadline = time.monotonic() + DEADLINE
        (answer,) = await batcher().submit("echo", [Item(text, len(text))], deadline)
        return _json({"model": model.spec.id, "usage": {"tokens": 0}, "results": [{"text": answer}]})


def add_classification(app: FastAPI, batcher: Callable[[], Batcher], model: Model) -> None:
    """``POST /v1/classify``."""
    tokenizer = Tokenizer(model.folder / "tokenizer.json", model.spec.max_tokens, model.spec.id)
    labels = model.spec.labels

    @app.post("/v1/classify")
    async def classify(request: Request) -> Response:
        text = json.loads(await request.body())["text"]
        (ids,) = tokenizer.encode([text], truncate=False)
        deadline = time.monotonic() + DEADLINE
        (scores,) = await batcher().submit("classification", [Item(ids, len(ids))], deadline)
        ranked = sorted(zip(scores.tolist(), labels, strict=True), reverse=True)
        found = [{"label": label, "score": score} for score, label in ranked]
        return _json({"model": model.spec.id, "usage": {"tokens": len(ids)}, "results": [{"labels": found}]})


def _json(content: Any) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), media_type="application/json")


_ADD = {"echo": add_echo, "classification": add_classification}


def build(tasks: Sequence[str]) -> FastAPI:
    """The application; its batcher starts with the event loop."""
    models = {task: load(task) for task in tasks}
    started: list[Batcher] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher = Batcher(max(model.lanes for model in models.values()))
        for task, model in models.items():
            batcher.register(task, model.pipeline.run, model.spec.batch)
        started.append(batcher)
        yield
        batcher.close()

    app = FastAPI(lifespan=lifespan)
    for task, model in models.items():
        _ADD[task](app, lambda: started[0], model)
    return app


class Server(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        sys.stdout.write("Bare is ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Server(uvicorn.Config(build(sys.argv[2:]), port=int(sys.argv[1]), log_level="warning", access_log=False)).run()
