"""The messages of text generation say what its records say, and a server answers alike on both protocols."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.clients import AsyncGrpcClient, AsyncRestClient
from services.core.errors import Code, ServingError
from services.core.schema import Record
from services.edges import protobuf
from services.tasks.llm import GENERATE, STREAM_GENERATE, TASK, GeneratePart, GenerateRequest, GenerateResponse
from services.tasks.llm.parameters import MOST
from services.tasks.llm.schema import (
    Alternative,
    Choice,
    GenerationUsage,
    Message,
    ResponseFormat,
    TokenLogprob,
)
from tests.tasks.llm.parrot import FAIL, Served

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = TEXT.filter(str.strip)
COUNTS = st.integers(0, MOST)
SMALL = st.floats(-2, 2)
TOP = {"token": TEXT, "bytes": st.lists(st.integers(0, 255)).map(tuple), "logprob": st.floats(-9999, 0)}
LOGPROBS = st.lists(
    st.builds(TokenLogprob, **TOP, top=st.lists(st.builds(Alternative, **TOP), max_size=2).map(tuple)), max_size=3
).map(tuple)
USAGE = st.builds(GenerationUsage, **dict.fromkeys(GenerationUsage.model_fields, st.integers(0, 2**62)))
REASONS = st.sampled_from(["stop", "length"])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["a", "a@1:b@2"]),
    "max_tokens": st.integers(1, MOST),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True),
    "top_k": COUNTS,
    "min_p": st.floats(0, 1),
    "repetition_penalty": st.floats(0.1, 10),
    "presence_penalty": SMALL,
    "frequency_penalty": SMALL,
    "logit_bias": st.dictionaries(COUNTS, st.floats(-100, 100), max_size=3),
    "stop": st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "n": st.integers(1, 16),
    "logprobs": st.integers(0, 20),
    "response_format": st.builds(ResponseFormat, type=st.sampled_from(["text", "json_object"]))
    | st.builds(ResponseFormat, type=st.just("json_schema"), json_schema=WORDS),
    "min_tokens": COUNTS,
    "ignore_eos": st.booleans(),
}
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant", "tool"]), content=TEXT), min_size=1
).map(tuple)
REQUESTS = (
    st.fixed_dictionaries({"prompt": WORDS}, optional=FIELDS)
    | st.fixed_dictionaries({"messages": MESSAGES}, optional=FIELDS)
).map(lambda fields: GenerateRequest(**fields))


@given(request=REQUESTS)
def test_requests_round_trip(request: GenerateRequest) -> None:
    message = protobuf.message_class(TASK, GenerateRequest)
    assert protobuf.decode(protobuf.encode(request, message), message, GenerateRequest) == request
    assert GenerateRequest.model_validate_json(request.model_dump_json(exclude_unset=True)) == request


@given(
    answer=st.builds(
        GenerateResponse,
        model=TEXT,
        usage=USAGE,
        choices=st.lists(st.builds(Choice, text=TEXT, finish_reason=REASONS, logprobs=LOGPROBS), max_size=3).map(tuple),
    )
    | st.builds(
        GeneratePart,
        model=TEXT,
        usage=USAGE,
        index=st.integers(0, 15),
        text=TEXT,
        finish_reason=st.none() | REASONS,
        logprobs=LOGPROBS,
    )
)
def test_answers_round_trip(answer: Record) -> None:
    message = protobuf.message_class(TASK, type(answer))
    assert protobuf.read(protobuf.encode(answer, message), message, type(answer)) == answer
    assert type(answer).model_validate_json(answer.model_dump_json(exclude_none=True)) == answer


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, None),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature"),
        ({"prompt": "a", "logit_bias": {5: float("inf")}}, "logit_bias[5]"),
        ({"prompt": "a", "logit_bias": {-5: 1.0}}, "logit_bias[-5].[key]"),
        ({"prompt": "a", "stop": ["x"] * 100}, "stop"),
        ({"prompt": "a", "stop": ["x" * 201]}, "stop[0]"),
        ({"prompt": "a", "response_format": {"type": "json_schema"}}, "response_format"),
        ({"prompt": "a", "response_format": {"json_schema": "{}"}}, "response_format"),
    ],
)
def test_a_bad_message_is_refused_as_a_bad_body_is(fields: dict[str, Any], param: str | None) -> None:
    message = protobuf.message_class(TASK, GenerateRequest)
    with pytest.raises(ServingError) as caught:
        protobuf.decode(message(**fields).SerializeToString(), message, GenerateRequest)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, param)
    with pytest.raises(ValidationError):
        GenerateRequest.model_validate({**fields, "messages": tuple(fields.get("messages", ()))})


@pytest.mark.parametrize(
    "fields", [{"response_format": {"type": ""}}, {"messages": [{"role": "user"}], "prompt": None}]
)
def test_empty_means_absent_on_both(fields: dict[str, Any]) -> None:
    message = protobuf.message_class(TASK, GenerateRequest)
    given = {name: value for name, value in {"prompt": "a", **fields}.items() if value is not None}
    read = protobuf.decode(message(**given).SerializeToString(), message, GenerateRequest)
    assert read == GenerateRequest.model_validate(given)
    assert read.response_format.type == "text"


@pytest.fixture(params=["rest", "grpc"])
async def client(served: Served, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    opened = AsyncRestClient(served.url) if request.param == "rest" else AsyncGrpcClient(served.grpc_address)
    async with opened:
        yield opened


@pytest.mark.parametrize("example", TASK.examples)
async def test_every_example_is_answered_whole_and_in_parts(client: Any, example: GenerateRequest) -> None:
    whole = await client.call(GENERATE, example)
    parts = [part async for part in client.stream(STREAM_GENERATE, example)]
    assert "".join(part.text for part in parts) == whole.choices[0].text
    assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + [whole.choices[0].finish_reason]
    assert sum(part.usage.tokens for part in parts) == whole.usage.tokens


async def test_an_error_between_parts_is_the_same_error(client: Any) -> None:
    parts = client.stream(STREAM_GENERATE, GenerateRequest(prompt=f"a {FAIL} b"))
    assert [(await anext(parts)).text for _ in range(2)] == ["a", f" {FAIL}"]
    with pytest.raises(ServingError) as caught:
        await anext(parts)
    assert caught.value.code is Code.UNAVAILABLE
