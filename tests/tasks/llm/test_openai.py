"""OpenAI's own client, whole and streamed, sync and async: it finds what it would find there."""

import asyncio
import json
import time
from typing import Any

import openai
import pytest
from jsonschema import validate
from openai.types import CompletionUsage
from pydantic import TypeAdapter

from services.core.telemetry import REQUEST_SECONDS
from services.tasks.llm.openai.answers import ChatCompletion, ChatCompletionChunk, Completion
from tests.tasks.llm.parrot import FAIL, FULL, HOLD, MODEL, Served, until

TEXT = "one two three"


def user(text: str = TEXT) -> list[Any]:
    return [{"role": "user", "content": text}]


def cost(usage: CompletionUsage | None) -> tuple[int, int, int, int | None]:
    assert usage
    assert usage.prompt_tokens_details
    cached = usage.prompt_tokens_details.cached_tokens
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, cached


async def test_a_chat(served: Served) -> None:
    answer = await served.client().chat.completions.create(
        model="parrot", messages=user(), extra_headers={"x-request-id": "mine"}
    )
    assert (answer.id, answer.object, answer.model) == ("chatcmpl-mine", "chat.completion", MODEL)
    assert abs(answer.created - time.time()) < 60
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", TEXT, None)
    assert cost(answer.usage) == (7, 3, 10, 3)


async def test_a_completion(served: Served) -> None:
    answer = await served.client().completions.create(model=MODEL, prompt=TEXT, max_tokens=2, echo=True)
    assert answer.id.startswith("cmpl-")
    assert (answer.object, answer.model, cost(answer.usage)) == ("text_completion", MODEL, (7, 2, 9, 3))
    assert [(one.index, one.text, one.finish_reason, one.logprobs) for one in answer.choices] == [
        (0, f"{TEXT}one two", "length", None)
    ]


async def test_completions_have_openais_own_limit(served: Served) -> None:
    answer = await served.client().completions.create(model=MODEL, prompt="a " * 50)
    assert answer.usage
    assert answer.usage.completion_tokens == 16


async def test_several_prompts_and_choices_come_in_order(served: Served) -> None:
    answer = await served.client().completions.create(model=MODEL, prompt=["a b", "c", "d e"], n=2, echo=True)
    assert [(one.index, one.text) for one in answer.choices] == list(
        enumerate(["a ba b", "a ba b", "cc", "cc", "d ed e", "d ed e"])
    )
    assert cost(answer.usage) == (21, 10, 31, 9)


async def test_one_prompt_of_several_that_fails_fails_all_and_stops_the_others(served: Served) -> None:
    with pytest.raises(openai.RateLimitError):
        await served.client().completions.create(model=MODEL, prompt=[f"{HOLD} on", FULL])
    await until(lambda: not served.backend.working)


@pytest.mark.parametrize("n", [1, 2])
async def test_a_streamed_chat(served: Served, n: int) -> None:
    stream = await served.client().chat.completions.create(
        model=MODEL, messages=user(), stream=True, n=n, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert {(chunk.id, chunk.object, chunk.model, chunk.usage) for chunk in chunks} == {
        (last.id, "chat.completion.chunk", MODEL, None)
    }
    assert (last.choices, cost(last.usage)) == ([], (7, 3 * n, 7 + 3 * n, 3))
    for index in range(n):
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert [choice.delta.role for choice in choices] == ["assistant", None, None, None, None]
        assert [choice.delta.content for choice in choices] == ["", "one", " two", " three", None]
        assert [choice.finish_reason for choice in choices] == [None, None, None, None, "stop"]


async def test_a_streamed_completion(served: Served) -> None:
    stream = await served.client().completions.create(model=MODEL, prompt=TEXT, stream=True, echo=True, n=2)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.object == "text_completion" for chunk in chunks)
    for index in range(2):
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert [choice.text for choice in choices] == [f"{TEXT}one", " two", " three"]
        assert [choice.finish_reason for choice in choices] == [None, None, "stop"]


async def test_what_is_on_the_wire(served: Served) -> None:
    body = {"messages": user("one"), "stream": True, "stream_options": {"include_usage": True}}
    answer = await served.post("/v1/chat/completions", body)
    *events, done, end = answer.content.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "one"}, {}]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])  # and not left out
    assert all(set(chunk["choices"][0]) == {"index", "delta", "logprobs", "finish_reason"} for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["total_tokens"] == 8


async def test_log_probabilities_of_a_chat(served: Served) -> None:
    client = served.client()
    asked: Any = {"model": MODEL, "messages": user("né à"), "logprobs": True, "top_logprobs": 2}
    whole = (await client.chat.completions.create(**asked)).choices[0].logprobs
    stream = await client.chat.completions.create(**asked, stream=True)
    streamed = [chunk.choices[0].logprobs async for chunk in stream]
    assert whole
    assert whole.content
    assert whole.content == [token for one in streamed if one for token in one.content or ()]
    assert [(token.token, token.bytes) for token in whole.content] == [
        ("né", [110, 195, 169]),
        (" à", [32, 195, 160]),
    ]
    assert [token.logprob for token in whole.content] == [-9999.0] * 2
    assert [(top.token, top.bytes, top.logprob) for top in whole.content[0].top_logprobs] == [
        ("0", [48], 0.0),
        ("1", [49], -1.0),
    ]


async def test_log_probabilities_of_a_completion(served: Served) -> None:
    client = served.client()
    whole = (await client.completions.create(model=MODEL, prompt=TEXT, logprobs=1)).choices[0].logprobs
    stream = await client.completions.create(model=MODEL, prompt=TEXT, logprobs=1, stream=True)
    streamed = [chunk.choices[0].logprobs async for chunk in stream]
    assert whole
    assert whole.tokens == ["one", " two", " three"]
    assert whole.text_offset == [0, 3, 7]
    assert whole.top_logprobs == [{"0": 0.0, token: -9999.0} for token in whole.tokens]
    for name in ("tokens", "text_offset", "token_logprobs", "top_logprobs"):
        assert getattr(whole, name) == [value for one in streamed for value in getattr(one, name)]


async def test_parameters_arrive_as_they_were_meant(served: Served) -> None:
    answer = await served.client().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two END"}]},
        ],
        stop=" END",
        max_tokens=3,
        max_completion_tokens=5,
        temperature=0,
        top_p=0.5,
        seed=-1,
        presence_penalty=1,
        frequency_penalty=-1.5,
        logit_bias={"50": -100},
        response_format={"type": "json_object"},
        user="somebody",
        metadata={"a": "b"},
        store=False,
        parallel_tool_calls=True,
        tools=[],
        tool_choice="auto",
        extra_body={"top_k": 4, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 1, "ignore_eos": True},
    )
    asked = served.backend.asked[-1]
    assert asked.model_dump(exclude_unset=True) == {
        "model": MODEL,
        "messages": ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "one\ntwo END"}),
        "stop": (" END",),
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": -1,
        "presence_penalty": 1.0,
        "frequency_penalty": -1.5,
        "logit_bias": {50: -100.0},
        "response_format": {"type": "json_object", "json_schema": ""},
        "top_k": 4,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "min_tokens": 1,
        "ignore_eos": True,
    }
    assert answer.choices[0].message.content == "one\ntwo"


async def test_an_answer_can_be_sent_back_as_it_came(served: Served) -> None:
    client = served.client()
    answer = await client.chat.completions.create(model=MODEL, messages=user())
    said: Any = answer.choices[0].message.model_dump()
    again = await client.chat.completions.create(model=MODEL, messages=[*user(), said, *user("and now")])
    assert again.choices[0].message.content == "and now"


async def test_a_schema_goes_to_the_model_as_it_is(served: Served) -> None:
    schema = {"type": "object", "properties": {"größe": {"type": "number"}}}
    answer = await served.client().chat.completions.create(
        model=MODEL,
        messages=user(),
        response_format={"type": "json_schema", "json_schema": {"name": "size", "schema": schema, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content or "") == schema


async def test_from_threads(served: Served) -> None:
    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(model=MODEL, messages=user())
            stream = client.chat.completions.create(model=MODEL, messages=user(), stream=True)
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == (TEXT, TEXT)


async def test_the_clients_own_reading_of_streams(served: Served) -> None:
    async with served.client().chat.completions.stream(model=MODEL, messages=user()) as stream:
        answer = await stream.get_final_completion()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (TEXT, "stop")


async def test_models(served: Served) -> None:
    client = served.client()
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (
        (await client.models.retrieve(MODEL)).id == (await client.models.retrieve(MODEL.partition("@")[0])).id == MODEL
    )
    with pytest.raises(openai.NotFoundError, match="GET /v1/models lists"):
        await client.models.retrieve("another")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model"),
        ({"messages": user(FULL)}, openai.RateLimitError, None),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
    ],
)
async def test_errors_are_those_of_the_client(
    served: Served, fields: dict[str, Any], error: type[openai.APIStatusError], param: str | None, stream: bool
) -> None:
    asked: Any = {"model": MODEL, "messages": user(), "stream": stream, **fields}
    with pytest.raises(error) as caught:
        await served.client().chat.completions.create(**asked)
    assert (caught.value.param, caught.value.request_id) == (param, caught.value.response.headers["x-request-id"])
    assert caught.value.type
    assert caught.value.code


async def test_an_error_after_the_first_chunk_is_raised_by_the_client(served: Served) -> None:
    stream = await served.client().chat.completions.create(model=MODEL, messages=user(f"{FAIL} now"), stream=True)
    said = []
    with pytest.raises(openai.APIError) as caught:
        said = [chunk async for chunk in stream]
    assert (caught.value.code, caught.value.message, said) == ("UNAVAILABLE", "The engine is gone.", [])
    await until(lambda: not served.backend.working)


@pytest.mark.parametrize("resource", ["chat", "completions"])
async def test_who_hangs_up_stops_the_work(served: Served, resource: str) -> None:
    client = served.client()
    stream: Any = (
        await client.chat.completions.create(model=MODEL, messages=user(f"{HOLD} on"), stream=True)
        if resource == "chat"
        else await client.completions.create(model=MODEL, prompt=f"{HOLD} on", stream=True)
    )
    before = cancelled(served)
    await anext(aiter(stream))
    assert served.backend.working == 1
    await stream.close()
    await until(lambda: not served.backend.working and cancelled(served) == before + 1)


def cancelled(served: Served) -> float:
    lines = served.meter.exposition().decode().splitlines()
    counts = [line for line in lines if line.startswith(f"{REQUEST_SECONDS.name}_count") and "cancelled" in line]
    return sum(float(line.rpartition(" ")[2]) for line in counts)


async def test_who_gives_up_waiting_for_a_whole_answer_stops_the_work(served: Served) -> None:
    with pytest.raises(openai.APITimeoutError):
        await served.client().completions.create(model=MODEL, prompt=f"{HOLD} on", timeout=0.3)
    await until(lambda: not served.backend.working)


async def test_the_documentation_has_the_routes(served: Served) -> None:
    document, listing = await served.get("/openapi.json"), await served.get("/v1/tasks")
    routes = ["/v1/chat/completions", "/v1/completions"]
    assert listing["tasks"][0]["dialects"] == [*routes, "/v1/load_lora_adapter", "/v1/unload_lora_adapter"]
    for route, record in zip(routes, ("ChatBody", "CompletionBody"), strict=True):
        schema = document["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{record}"}
        assert {"model", "stream", "temperature"} < set(document["components"]["schemas"][record]["properties"])


CHAT: Any = {"messages": user("one two"), "n": 2, "logprobs": True, "top_logprobs": 2}
COMPLETION: Any = {"prompt": "one two", "n": 2, "logprobs": 2}
USAGE: Any = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("route", "body", "whole", "chunk"),
    [
        ("/v1/chat/completions", CHAT, ChatCompletion, ChatCompletionChunk),
        ("/v1/chat/completions", {"messages": user()}, ChatCompletion, ChatCompletionChunk),
        ("/v1/completions", COMPLETION, Completion, Completion),
        ("/v1/completions", {"prompt": "one"}, Completion, Completion),
    ],
)
async def test_answers_are_what_the_documentation_says(
    served: Served, route: str, body: Any, whole: Any, chunk: Any
) -> None:
    document = await served.get("/openapi.json")
    contents = document["paths"][route]["post"]["responses"]["200"]["content"]
    answer = await served.post(route, body)
    streams = [await served.post(route, {**body, "stream": True, **more}) for more in ({}, USAGE)]
    events = [event.removeprefix(b"data: ") for one in streams for event in one.content.split(b"\n\n")[:-2]]
    assert len(events) >= 3
    for media, record, bodies in (
        ("application/json", whole, [answer.content]),
        ("text/event-stream", chunk, events),
    ):
        for content in bodies:
            validate(json.loads(content), {**document, **contents[media]["schema"]})
            TypeAdapter(record).validate_json(content, strict=True, extra="forbid")  # and nothing else


async def test_adapters_answer_in_words(served: Served) -> None:
    document = await served.get("/openapi.json")
    for route in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
        ((media, content),) = document["paths"][route]["post"]["responses"]["200"]["content"].items()
        assert media.startswith("text/plain")
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][name]["type"] == "string"
