"""A real server for tests: uvicorn and grpc.aio on free ports, with the fake engine and a tiny tokenizer."""

import random
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from services.core.batching import Batcher
from services.core.catalog import BatchPolicy, Catalog, ModelSpec
from services.core.engine import Encoder, Logits, TokenIds
from services.core.inference import InferenceService, Loaded
from services.core.settings import Settings
from services.core.task import Task, discover
from services.core.telemetry import BatchTelemetry
from services.core.tokenizer import Tokenizer as ModelTokenizer
from services.engines.echo import EchoEngine
from services.engines.fake import FakeEncoder
from services.runtime.local import serving
from services.runtime.meters import PrometheusMeter
from services.tasks.classification.pipeline import ClassifyPipeline
from services.tasks.echo.pipeline import EchoPipeline
from tests.tasks.translation import fakes

MAX_TOKENS = 64
TASKS = discover(only=("classification", "echo", "translation"))
CLASSIFICATION = TASKS[0]

_RANDOM = random.SystemRandom()
"""Not the module's own: hypothesis seeds that, and two tests at once would choose the same."""


def free_port() -> int:
    """Below those that the system gives to outgoing connections: one of these may be gone before a server takes it."""
    while not is_free(port := _RANDOM.randrange(20_000, 32_000)):
        pass
    return port


def free_grpc_port(*taken: int) -> int:
    """A gRPC port with room for every task's lane above it."""
    while True:
        port = free_port()
        settings = Settings(rest_port=1, grpc_port=port)
        ports = [port, *(settings.lane_port(task.grpc_port) for task in discover(opt_in=True))]
        if not set(ports) & set(taken) and all(map(is_free, ports)):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tiny_tokenizer(folder: Path) -> Path:
    """A BERT-like tokenizer that knows bytes: every text has tokens, as with a real vocabulary."""
    vocabulary = {"[CLS]": 0, "[SEP]": 1, **{chr(code): code for code in range(2, 256)}, "[UNK]": 256}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def fake_spec(name: str = "fake", task: str = "classification", **fields: Any) -> ModelSpec:
    return ModelSpec(
        task=task, name=name, description="", engine="fake", labels=("negative", "positive"), licence="none", **fields
    )


@dataclass(frozen=True)
class Server:
    """A running server and clients for it."""

    rest: httpx.AsyncClient
    channel: grpc.aio.Channel
    service: InferenceService
    meter: PrometheusMeter
    settings: Settings

    async def post(self, route: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.rest.post(route, json=body, **options)

    async def rpc(self, method: str, data: bytes, **options: Any) -> bytes:
        """Raw bytes in and out; raises grpc.aio.AioRpcError."""
        answer: bytes = await self.channel.unary_unary(method)(data, **options)
        return answer


@asynccontextmanager
async def serve(
    folder: Path,
    engine: Encoder | None = None,
    policy: BatchPolicy | None = None,
    echo_engine: EchoEngine | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """All tasks in this process, on free ports; ``engine`` answers classification."""
    chosen = Settings(**{"rest_port": free_port(), "grpc_port": free_port(), "drain_seconds": 2, **settings})
    spec = fake_spec(default=True, batch=policy or BatchPolicy())
    patient = BatchPolicy(
        group_items=1, queue_items=1_000_000, queue_seconds=60, queue_cost=100_000_000
    )  # nothing is refused for the machine being slow
    echo = fake_spec("echo", "echo", default=True, batch=patient)
    tokenizer = ModelTokenizer(tiny_tokenizer(folder), MAX_TOKENS, spec.id)
    classify = ClassifyPipeline(spec.id, spec.labels, tokenizer, engine or FakeEncoder())
    letters = fakes.SPEC.model_copy(update={"default": True, "batch": patient})
    loaded = [
        Loaded(spec, ("Classify",), classify),
        Loaded(echo, ("Echo", "StreamEcho"), EchoPipeline(echo.id, echo_engine or EchoEngine())),
        Loaded(letters, ("Translate", "StreamTranslate"), fakes.pipeline(fakes.Capitals())),
    ]
    async with running(TASKS, loaded, chosen) as server:
        yield server


@asynccontextmanager
async def running(tasks: Sequence[Task], loaded: Sequence[Loaded], settings: Settings) -> AsyncIterator[Server]:
    catalog = Catalog({(model.spec.task, model.spec.id): model.spec for model in loaded}.values())
    meter = PrometheusMeter()
    lanes = loaded[0].spec.batch.lanes or 2
    service = InferenceService(catalog, loaded, Batcher(lanes, BatchTelemetry(meter)), meter)
    async with (
        serving(tasks, catalog, service, meter, settings),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.rest_port}", timeout=20) as rest,
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield Server(rest, channel, service, meter, settings)


class GatedEncoder(FakeEncoder):
    """Runs only while its gate is open, and counts what it ran: load without sleeping."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Event()
        self.ran = 0

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        self.started.set()
        self.gate.wait(timeout=30)
        self.ran += len(batch)
        return super().run(batch)
