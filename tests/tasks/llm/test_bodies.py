"""Bad bodies in OpenAI's shape: each is refused by name, on whatever route, and none is an internal error."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import Code
from services.edges.status import WIRE
from services.tasks.llm.openai.chat_body import ChatBody
from services.tasks.llm.openai.completion_body import CompletionBody
from tests.edges.test_fuzz import JSON
from tests.tasks.llm.parrot import MODEL, Served

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "one"}]

SHARED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**12}, "max_tokens"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"stop": ["x"] * 100}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"seed": 2**63}, "seed"),
    ({"logit_bias": {"a": 1}}, "logit_bias.a.[key]"),
    ({"logit_bias": {"5": 101}}, "logit_bias[5]"),
    ({"model": "../etc/passwd"}, "model"),
    ({"stream": "yes"}, "stream"),
    ({"invented": 1}, "invented"),
]
CHATS: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": USER * 1025}, "messages"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
    ({"messages": [*USER, {"role": "user", "content": 5}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"functions": [{}]}, "functions"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "ash"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"logprobs": 5}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "response_format.json_schema.schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": "x" * 70_000}}}},
        "response_format.json_schema",
    ),
]
PROMPTS: list[tuple[dict[str, Any], str | None]] = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": [1, 2, 3]}, "prompt"),
    ({"prompt": [[1, 2, 3]]}, "prompt"),
    ({"prompt": ["a"] * 65}, "prompt"),
    ({"prompt": ["a", "b"], "stream": True}, "prompt"),
    ({"best_of": 3}, "best_of"),
    ({"echo": True, "logprobs": 1}, "logprobs"),
    ({"suffix": "the end"}, "suffix"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 21}, "logprobs"),
]
CASES = [
    *((CHAT, {"messages": USER, **fields}, param) for fields, param in [*SHARED, *CHATS]),
    *((COMPLETIONS, {"prompt": "one", **fields}, param) for fields, param in [*SHARED, *PROMPTS]),
]


@pytest.mark.parametrize(("route", "body", "param"), CASES)
async def test_what_is_not_served_is_refused_by_name(
    served: Served, route: str, body: dict[str, Any], param: str | None
) -> None:
    answer = await served.post(route, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "INVALID_ARGUMENT", param), error
    assert param
    assert param.partition("[")[0].partition(".")[0] in error["message"]


@pytest.mark.parametrize("route", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"a"', b'{"prompt": "\xff"}', b"[" * 100_000])
async def test_what_is_no_body_is_refused(served: Served, route: str, body: bytes) -> None:
    answer = await served.post(route, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_ARGUMENT")


async def test_a_body_past_the_limit_is_refused(served: Served) -> None:
    answer = await served.post(COMPLETIONS, {"prompt": "a" * 20_000_000})
    assert answer.status_code == 413


async def test_a_large_body_of_unknown_fields_is_refused_by_the_first(served: Served) -> None:
    answer = await served.post(CHAT, {f"field{number}": 1 for number in range(100_000)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "field0")


PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=9)}), max_size=3)
BOTH: dict[str, st.SearchStrategy[Any]] = {
    "model": st.just(MODEL),
    "max_tokens": st.integers(1, 5),
    "temperature": st.none() | st.floats(0, 2),
    "n": st.integers(1, 3),
    "stop": st.text(min_size=1, max_size=3) | st.lists(st.text(min_size=1, max_size=3), max_size=3),
    "logit_bias": st.dictionaries(st.integers(0, 9).map(str), st.integers(-100, 100), max_size=3),
    "seed": st.none() | st.integers(-9, 9),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "user": JSON,
}
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"])},
    optional={"content": st.none() | st.text(max_size=20) | PARTS, "name": JSON},
)
FORMAT = st.sampled_from([{"type": "text"}, {"type": "json_object"}]) | st.fixed_dictionaries(
    {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"schema": st.dictionaries(st.text(), JSON)})}
)
CHAT_BODIES = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, min_size=1, max_size=3)},
    optional={**BOTH, "logprobs": st.just(True), "response_format": FORMAT},
)
PROMPT_BODIES = st.fixed_dictionaries(
    {"prompt": st.text(min_size=1, max_size=20) | st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3)},
    optional={**BOTH, "echo": st.booleans(), "logprobs": st.none() | st.integers(0, 3)},
)
NAMES = sorted({*ChatBody.model_fields, *CompletionBody.model_fields})
ODD_MESSAGES = st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls"]), JSON), max_size=2)
FORMATS = st.dictionaries(st.sampled_from(["type", "json_schema"]), JSON | st.sampled_from(["text", "json_schema"]))
ODD = st.one_of(
    st.just({}),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=2),
    st.fixed_dictionaries({"messages": ODD_MESSAGES}),
    st.fixed_dictionaries({"response_format": FORMATS}),
)
fuzz = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def check(served: Served, route: str, body: Any) -> None:
    answer = await served.post(route, body)
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.content.endswith(b"data: [DONE]\n\n")
    elif answer.status_code == 200:
        assert answer.json()["choices"]
    else:
        error = answer.json()["error"]
        assert WIRE[Code(error["code"])].http == answer.status_code < 500, error


@given(body=CHAT_BODIES, odd=ODD)
@fuzz
async def test_any_chat(served: Served, body: dict[str, Any], odd: dict[str, Any]) -> None:
    await check(served, CHAT, {**body, **odd})


@given(body=PROMPT_BODIES, odd=ODD)
@fuzz
async def test_any_completion(served: Served, body: dict[str, Any], odd: dict[str, Any]) -> None:
    await check(served, COMPLETIONS, {**body, **odd})


@pytest.mark.parametrize(("given", "native"), [(-1, 0), (0, 0), (7, 7)])
def test_all_tokens_are_said_as_vllm_says_it_too(given: int, native: int) -> None:
    (request,) = CompletionBody(prompt="one", top_k=given).native()
    assert request.top_k == native
