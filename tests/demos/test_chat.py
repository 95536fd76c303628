"""The chat without its browser: what it sends to a real server, what it shows, and what it leaves behind."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradio_demos.calls import Server as Site
from gradio_demos.schema import fields_of
from gradio_demos.site import build_site, read_server
from gradio_demos.views import find_page, find_view
from gradio_demos.views.llm.answering import Look, answerer
from gradio_demos.views.llm.pace import Answer
from gradio_demos.views.llm.page import _OPTIONS, _row
from gradio_demos.views.llm.turns import Form, read, show
from gradio_demos.widgets import Widget, read_all, widget
from services.clients import AsyncRestClient
from services.core.engine import EngineOptions
from services.core.inference import Loaded
from services.core.settings import Settings
from services.edges.cards import MethodCard
from services.engines.torch_lm.engine import TorchGenerator
from services.tasks.llm import GENERATE, STREAM_GENERATE, TASK, GeneratePart, GenerateRequest, Message
from services.tasks.llm.pipeline import GeneratePipeline
from services.tasks.llm.schema import GenerationUsage
from tests.llamas import llama, llama_spec
from tests.serving import Server, free_grpc_port, free_port, running

CARD = MethodCard(
    verb=GENERATE.verb,
    kind=GENERATE.kind,
    route=GENERATE.route,
    rpc=TASK.rpc(GENERATE),
    request_schema=GenerateRequest.model_json_schema(),
    response_schema={},
)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("llm")
    llama(folder / "model")
    spec = llama_spec(folder / "model", engine="torch-lm", default=True)
    engine = TorchGenerator.load(folder / "model", EngineOptions(1, 1))
    pipeline = GeneratePipeline.load(spec, folder / "model", engine)
    methods = tuple(method.verb for method in (GENERATE, STREAM_GENERATE))
    settings = Settings(rest_port=free_port(), grpc_port=free_grpc_port(), home=folder, drain_seconds=2)
    async with running([TASK], [Loaded(spec, methods, pipeline)], settings) as found:
        yield found


def options() -> list[Widget]:
    fields = {field.name: field for field in fields_of(CARD.request_schema)}
    return [widget(fields[name]) for name in _OPTIONS]


async def send(
    server: Server, text: str, *values: Any, plain: bool = False, system: str = "", shown: Sequence[Any] = ()
) -> list[Look]:
    """What people see, one look after the other; values of options are those of the components."""
    async with AsyncRestClient(str(server.rest.base_url)) as client:
        answer = answerer(Site(client, client.url, "h:1", None), CARD, options())
        return [look async for look in answer(shown, plain, text, system, *(values or ("", "0", "30", "1")))]


async def whole(server: Server, **fields: Any) -> str:
    answer = await server.post(GENERATE.route, {"temperature": 0, "max_tokens": 30, "seed": 1, **fields})
    text: str = answer.json()["choices"][0]["text"]
    return text


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(texts)]


async def test_an_answer_grows_and_the_next_knows_of_it(server: Server) -> None:
    first = await whole(server, messages=turns("the cat"))
    looks = await send(server, "the cat")
    assert [message.content for message in read(looks[0][0])] == ["the cat"]
    assert [message.content for message in read(looks[-1][0])] == ["the cat", first]
    assert {look[1] for look in looks} == {""}
    assert re.fullmatch(r"<p.*>tiny@1: \d+ tokens?, the first after \d\.\d\d s(, then \d+ tokens/s)?.*", looks[-1][3])
    assert '"seed": 1' in looks[0][4]
    said = read((await send(server, "and then", shown=looks[-1][0]))[-1][0])
    assert said[-1].content == await whole(server, messages=turns("the cat", first, "and then"))


async def test_a_plain_completion_knows_nothing_but_its_text(server: Server) -> None:
    looks = await send(server, "the cat", plain=True, system="Be brief.", shown=show(read([])))
    assert read(looks[-1][0])[-1].content == await whole(server, prompt="the cat")


async def test_how_the_model_shall_behave_comes_first(server: Server) -> None:
    looks = await send(server, "the cat", system="Be brief.")
    messages = [{"role": "system", "content": "Be brief."}, *turns("the cat")]
    assert read(looks[-1][0])[-1].content == await whole(server, messages=messages)


async def test_whoever_stops_reading_frees_the_slot(server: Server) -> None:
    async with AsyncRestClient(str(server.rest.base_url)) as client:
        looks = answerer(Site(client, client.url, "h:1", None), CARD, options())((), True, "a", "", "", "1", "100", "")
        async for look in looks:
            if look[3]:
                break
        await looks.aclose()
        async with asyncio.timeout(10):
            while await busy(server):
                await asyncio.sleep(0.01)


async def busy(server: Server) -> bool:
    lines = (await server.rest.get("/metrics")).text.splitlines()
    names = ("chorale_running_sequences", "chorale_cache_blocks", "chorale_inflight")
    return any(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))


@pytest.mark.parametrize(
    ("text", "values", "plain", "param"),
    [
        ("a", ("", "3", "", ""), False, "temperature"),
        ("a", ("", "", "1000000", ""), False, "max_tokens"),
        ("a", ("", "", "", str(2**63)), False, "seed"),
        ("a", ("Loud", "", "", ""), False, "model"),
        ("a", ("other", "", "", ""), False, "other"),
        (" ", ("", "", "", ""), True, "prompt"),
    ],
)
async def test_what_is_refused_can_be_tried_again(
    server: Server, text: str, values: Sequence[Any], plain: bool, param: str
) -> None:
    before = show((Message(role="user", content="x"), Message(role="assistant", content="y")))
    look = (await send(server, text, *values, plain=plain, shown=before))[-1]
    assert look[:2] == (before, text)
    assert 'role="alert"' in look[2]
    assert param in look[2]


@given(st.lists(st.text(max_size=20), max_size=4))
def test_turns_come_back_as_they_were_shown(texts: list[str]) -> None:
    said = tuple(Message(role="user", content=text) for text in texts)
    chatbot = gr.Chatbot(render=False)
    assert read(chatbot.preprocess(chatbot.postprocess(show(said)))) == said


@pytest.mark.parametrize("example", TASK.examples, ids=["chat", "plain"])
def test_every_example_comes_back_from_its_components(example: GenerateRequest) -> None:
    plain, system, text, *values = _row(example.model_dump(mode="json", exclude_unset=True), options())
    assert Form((), plain, text, system, read_all(options(), values)).request() == example


@pytest.mark.parametrize(
    ("parts", "facts"),
    [
        ([], ""),
        ([("a", 1)], "tiny@1: 1 token, the first after 0.50 s"),
        ([("", 1), ("a", 1)], "tiny@1: 2 tokens, the first after 1.00 s"),
        ([("a", 1), ("b", 1), ("c", 2)], "tiny@1: 4 tokens, the first after 0.50 s, then 3 tokens/s"),
    ],
)
def test_how_fast_an_answer_comes(parts: list[tuple[str, int]], facts: str) -> None:
    answer = Answer(iter([0.5 * tick for tick in range(9)]).__next__)
    for text, tokens in parts:
        answer.take(GeneratePart(model="tiny@1", index=0, text=text, usage=GenerationUsage(completion_tokens=tokens)))
    assert answer.facts == facts


async def test_the_site_has_the_page(server: Server) -> None:
    tasks, models = await asyncio.to_thread(read_server, str(server.rest.base_url))
    site = build_site(tasks, models, str(server.rest.base_url), "h:1")
    labels = [block.label for block in site.blocks.values() if isinstance(block, gr.Tab)]
    assert labels[:3] == ["LLM", "Chat", "curl"]
    (fresh,) = [one.fn for one in site.fns.values() if [type(found) for found in one.outputs] == [gr.Dropdown]]
    assert (await fresh()).choices == [("the default", ""), ("tiny@1", "tiny@1")]


def test_other_tasks_have_no_page() -> None:
    assert [find_page(task) for task in ("classification", "echo", "../views")] == [None] * 3
    assert find_view("llm") is None
