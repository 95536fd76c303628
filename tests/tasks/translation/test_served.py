"""The bundled model behind a real server: every protocol alike, streams, batches, and documents of any length."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.build import Builder
from models.store import ArtefactStore
from services.clients import AsyncGrpcClient, AsyncRestClient, Code, ServingError
from services.core.catalog import Catalog, ModelSpec, read_catalog
from services.core.context import CallContext
from services.core.engine import EngineOptions
from services.core.inference import Loaded
from services.core.settings import BUNDLED_CATALOG, Settings
from services.core.task import discover
from services.engines.ctranslate2 import CTranslate2Seq2Seq
from services.tasks.translation import STREAM_TRANSLATE, TASK, TRANSLATE, TranslateRequest
from services.tasks.translation.pipeline import TranslatePipeline
from tests.serving import Server, free_port, running

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]
SENTENCES = [
    "Where is the station?",
    "I don't know.",
    "Tom has been waiting for you since this morning.",
    "What did you buy her for her birthday?",
    "She can't come to the party because she is ill.",
    "The children are playing in the garden behind the house.",
    "Why?",
    "If I had known that, I would have told you about it earlier.",
]
TEXT = "# News\n\n- Where is the station? I don't know.\n- Tom is waiting for {name} since 10:30.\n\nGood bye!"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return Catalog(read_catalog([BUNDLED_CATALOG], ["translation"]).specs).resolve("translation", None)


@pytest.fixture(scope="module")
def pipeline(spec: ModelSpec) -> Any:
    folder = Builder(ArtefactStore(Settings().home), {task.name: task for task in discover()}, lambda _: None).ensure(
        spec
    )
    assert folder
    return TranslatePipeline.load(spec, folder, CTranslate2Seq2Seq.load(folder, EngineOptions(lanes=2)))


@pytest.fixture(scope="module")
async def server(spec: ModelSpec, pipeline: TranslatePipeline) -> AsyncIterator[Server]:
    chosen = Settings(rest_port=free_port(), grpc_port=free_port(), drain_seconds=2)
    loaded = Loaded(spec, (TRANSLATE.verb, STREAM_TRANSLATE.verb), pipeline)
    async with running([TASK], [loaded], chosen) as server:
        yield server


def clients(server: Server) -> tuple[AsyncRestClient, AsyncGrpcClient]:
    rest, grpc = server.settings.rest_port, server.settings.grpc_port
    return AsyncRestClient(f"http://127.0.0.1:{rest}"), AsyncGrpcClient(f"127.0.0.1:{grpc}")


def plain(answer: Any) -> Any:
    """Floats as protobuf has them."""
    if isinstance(answer, dict):
        return {name: plain(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [plain(value) for value in answer]
    return round(answer, 5) if isinstance(answer, float) else answer


REQUESTS = [
    *TASK.examples,
    TranslateRequest(text=(TEXT,), source="en", target="de", alternatives=1, alignment=True),
    TranslateRequest(text=("<p>I <b>like</b> Tom &amp; Mary.</p>",), target="fr", format="html", max_tokens=50),
    TranslateRequest(text=("The cloud is big.",), target="es", glossary={"cloud": "Wolke"}, preserve=("big",)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
async def test_every_protocol_gives_the_same(server: Server, request_: TranslateRequest) -> None:
    rest, grpc = clients(server)
    async with rest, grpc:
        answers = [await client.call(TRANSLATE, request_) for client in (rest, grpc)]
        streams = [[part async for part in client.stream(STREAM_TRANSLATE, request_)] for client in (rest, grpc)]
    local = await server.service.infer(TASK, TRANSLATE, request_, CallContext("id", "local", float("inf")))
    assert plain(answers[0].model_dump()) == plain(answers[1].model_dump()) == plain(local.model_dump())
    assert plain([part.model_dump() for part in streams[0]]) == plain([part.model_dump() for part in streams[1]])
    for index, result in enumerate(answers[0].results):
        assert result.translation == "".join(part.result.translation for part in streams[0] if part.index == index)


def test_a_batch_says_what_its_sentences_say_alone(pipeline: TranslatePipeline) -> None:
    request = TranslateRequest(text=tuple(SENTENCES * 4), source="en", target="de", beam_size=1)
    works = [item.payload for item in pipeline.prepare(request)]
    together = pipeline.run(works)
    alone = [pipeline.run([work])[0] for work in works[: len(SENTENCES)]]
    assert [output.found[0].text for output in together] == [output.found[0].text for output in alone] * 4
    assert len({output.found[0].text for output in alone}) == len(SENTENCES)


async def test_formatting_and_what_is_kept(server: Server) -> None:
    answer = await server.post(TRANSLATE.route, {"text": TEXT, "target": "fr"})
    said = answer.json()["results"][0]["translation"]
    assert said.startswith("# ")
    assert [line[:2] for line in said.split("\n")][2:4] == ["- ", "- "]
    assert said.count("\n") == TEXT.count("\n")
    assert "{name}" in said
    assert "10:30" in said


KEPT = ["{name}", "%s", "%(count)d", "https://a.example/x?y=1", "12,345.67", "2024-05-01", "me@a.example", "${x}"]


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*KEPT, *SENTENCES, "and", "with", "to Tom", "\n"]), min_size=1, max_size=9))
def test_nothing_that_is_to_be_kept_is_lost(pipeline: TranslatePipeline, parts: list[str]) -> None:
    text = " ".join(parts)
    if not text.strip():
        return
    request = TranslateRequest(text=(text,), source="en", target="de", beam_size=1)
    items = pipeline.prepare(request)
    said = pipeline.finish(request, items, pipeline.run([item.payload for item in items])).results[0].translation
    for term in KEPT:
        assert said.count(term) >= parts.count(term), (text, said)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "Hi.", "target": "it"}, "target"),
        ({"text": "Hi.", "target": "en", "source": "en"}, "target"),
        ({"text": "", "target": "de"}, "text[0]"),
        ({"text": "Hi.", "target": "de", "glossary": 3}, "glossary"),
    ],
)
async def test_bad_input_is_told_in_a_sentence(server: Server, body: dict[str, Any], param: str) -> None:
    answer = await server.post(TRANSLATE.route, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_the_same_error_over_grpc(server: Server) -> None:
    rest, grpc = clients(server)
    request = TranslateRequest(text=("Hi.",), target="it")
    async with rest, grpc:
        for client in (rest, grpc):
            with pytest.raises(ServingError) as caught:
                await client.call(TRANSLATE, request)
            assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "target")
            assert "en-de" in caught.value.message


async def test_a_document_of_50000_characters_streams(server: Server) -> None:
    document = ("\n".join(SENTENCES) + "\n") * 400
    request = TranslateRequest(text=(document[:50_000],), source="en", target="es", beam_size=1)
    rest, _ = clients(server)
    started, first, found = time.monotonic(), 0.0, []
    async with rest, aclosing(rest.stream(STREAM_TRANSLATE, request, timeout=120)) as parts:
        async for part in parts:
            first = first or time.monotonic() - started
            found.append(part.result.translation)
    assert len(found) > 1000
    assert "".join(found).count("\n") == request.text[0].count("\n")
    assert first < (time.monotonic() - started) / 3


async def test_many_callers_share_runs(server: Server) -> None:
    async def call(text: str) -> str:
        body = {"text": text, "source": "en", "target": "de", "beam_size": 1}
        answer = await server.post(TRANSLATE.route, body)
        return str(answer.json()["results"][0]["translation"])

    alone = [await call(text) for text in SENTENCES]
    assert await asyncio.gather(*map(call, SENTENCES * 4)) == alone * 4


def test_repetition_is_seen_in_a_real_model(pipeline: TranslatePipeline) -> None:
    """Nonsense that small models loop on comes out short, flagged or not."""
    request = TranslateRequest(text=("ba ba ba bu bu bu " * 12,), source="en", target="de", beam_size=1)
    items = pipeline.prepare(request)
    result = pipeline.finish(request, items, pipeline.run([item.payload for item in items])).results[0]
    assert len(result.translation) < 2000
