"""REST, gRPC and the core in-process give the same answer to every example, and the same error to every bad input."""

import json
from typing import Any, get_args

import grpc
import pytest
from google.protobuf import json_format

from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.schema import Request
from services.core.task import Kind, Method, Task, discover
from services.edges.announce import example_body
from services.edges.protobuf import message_class
from services.edges.status import WIRE
from tests.serving import CLASSIFICATION, TASKS, Server, serve

CASES = [
    (task, method, example)
    for task in TASKS
    for method in task.methods
    if method.kind is Kind.UNARY
    for example in task.examples
]
CLASSIFY = CLASSIFICATION.methods[0]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async with serve(tmp_path_factory.mktemp("artefact"), max_request_bytes=2_000_000) as running:
        yield running


def message_bytes(task: Task, method: Method, body: dict[str, Any]) -> bytes:
    message = message_class(task, method.request)()
    return json_format.ParseDict(body, message).SerializeToString()


async def grpc_answer(server: Server, task: Task, method: Method, data: bytes, **options: Any) -> Any:
    answer = message_class(task, method.response).FromString(await server.rpc(task.rpc(method), data, **options))
    return json_format.MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def rounded(value: Any) -> Any:
    """Protobuf's JSON prints the shortest float32, Python the float64 of it: compare what both mean."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6), parse_int=str)


@pytest.mark.parametrize(("task", "method", "example"), CASES, ids=lambda value: getattr(value, "verb", None))
async def test_every_example_has_one_answer(server: Server, task: Task, method: Method, example: Request) -> None:
    rest = (await server.post(method.route, example_body(example))).json()
    rpc = await grpc_answer(
        server, task, method, message_bytes(task, method, example.model_dump(mode="json", exclude_unset=True))
    )
    rpc["usage"]["tokens"] = int(rpc["usage"]["tokens"])  # protobuf's JSON writes int64 as a string
    context = CallContext("id", "local", deadline=float("inf"))
    local = (await server.service.infer(task, method, example, context)).model_dump(mode="json")
    assert rounded(rest) == rounded(rpc) == rounded(local)
    assert len(rest["results"]) == len(example.model_dump()["text"])


@pytest.mark.parametrize("task", discover(opt_in=True), ids=lambda task: task.name)
def test_records_and_messages_have_the_same_fields(task: Task) -> None:
    def check(record: Any, descriptor: Any) -> None:
        fields = {field.name: field for field in descriptor.fields}
        assert set(record.model_fields) == set(fields), record.__name__
        for name, field in fields.items():
            if field.message_type and not field.message_type.GetOptions().map_entry:
                inner = record.model_fields[name].annotation
                check(
                    next(iter(get_args(inner)), inner), field.message_type
                )  # of several, or of one that may be absent

    for method in task.methods:
        check(method.request, message_class(task, method.request).DESCRIPTOR)
        check(method.response, message_class(task, method.response).DESCRIPTOR)


BAD = {
    "empty text": ({"text": ""}, Code.INVALID_ARGUMENT, "text[0]"),
    "blank text": ({"text": ["fine", " \t\n\u2003"]}, Code.INVALID_ARGUMENT, "text[1]"),
    "only control characters": ({"text": ["fine", "\u0000\u0001"]}, Code.INVALID_ARGUMENT, "text[1]"),
    "empty list": ({"text": []}, Code.INVALID_ARGUMENT, "text"),
    "10,000 items": ({"text": ["a"] * 10_000}, Code.INVALID_ARGUMENT, "text"),
    "1 MB of text": ({"text": "word " * 200_000}, Code.INVALID_ARGUMENT, "text[0]"),
    "past the model's limit": ({"text": ["a " * 100]}, Code.INVALID_ARGUMENT, "text[0]"),
    "unknown model": ({"text": "a", "model": "nobody"}, Code.NOT_FOUND, "model"),
    "unknown version": ({"text": "a", "model": "fake@9"}, Code.NOT_FOUND, "model"),
    "unknown adapter": ({"text": "a", "model": "fake:nobody"}, Code.NOT_FOUND, "model"),
    "malformed model id": ({"text": "a", "model": "../etc/passwd"}, Code.INVALID_ARGUMENT, "model"),
    "top_k of zero": ({"text": "a", "top_k": 0}, Code.INVALID_ARGUMENT, "top_k"),
    "over the size limit": ({"text": ["x" * 2_100_000]}, Code.TOO_LARGE, None),
}


@pytest.mark.parametrize("case", BAD)
async def test_the_same_error_on_both(server: Server, case: str) -> None:
    body, code, param = BAD[case]
    many = {**body, "text": [body["text"]] if isinstance(body["text"], str) else body["text"]}
    rest = await server.post(CLASSIFY.route, body, headers={"x-request-id": "same"})
    data = message_bytes(CLASSIFICATION, CLASSIFY, many)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFICATION.rpc(CLASSIFY), data, metadata=(("x-request-id", "same"),))
    error, trailers = rest.json()["error"], dict(caught.value.trailing_metadata() or ())
    assert (rest.status_code, caught.value.code()) == WIRE[code][:2]
    assert error["code"] == trailers["x-chorale-code"] == code
    assert error["message"] == caught.value.details()
    assert error["param"] == trailers.get("x-chorale-param") == param
    assert error["request_id"] == trailers["x-request-id"] == rest.headers["x-request-id"] == "same"


async def test_in_process_raises_the_same_error(server: Server) -> None:
    request = CLASSIFY.request.model_validate({"text": "a", "model": "nobody"})
    with pytest.raises(ServingError) as caught:
        await server.service.infer(CLASSIFICATION, CLASSIFY, request, CallContext("id", "local", float("inf")))
    rest = await server.post(CLASSIFY.route, {"text": "a", "model": "nobody"})
    assert caught.value.message == rest.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    ["naïve café 日本語 русский العربية 👩‍👩‍👧", "nul \u0000 inside", "\u202eright to left", "e\u0301 combining"],
)
async def test_odd_but_real_text_is_answered_alike(server: Server, text: str) -> None:
    rest = (await server.post(CLASSIFY.route, {"text": [text, "plain"]})).json()
    data = message_bytes(CLASSIFICATION, CLASSIFY, {"text": [text, "plain"]})
    rpc = await grpc_answer(server, CLASSIFICATION, CLASSIFY, data)
    assert rounded(rest["results"]) == rounded(rpc["results"])
    echoed = (await server.post("/v1/echo", {"text": text})).json()
    assert echoed["results"][0]["text"] == text


async def test_a_deadline_that_has_passed(server: Server) -> None:
    rest = await server.post(CLASSIFY.route, {"text": "a"}, headers={"x-request-timeout": "0"})
    assert (rest.status_code, rest.json()["error"]["code"]) == (408, "DEADLINE_EXCEEDED")
    data = message_bytes(CLASSIFICATION, CLASSIFY, {"text": ["a"]})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFICATION.rpc(CLASSIFY), data, metadata=(("x-request-timeout", "0"),))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-request-timeout", "soon"),
        ("x-request-timeout", "nan"),
        ("x-request-timeout", "-1"),
        ("x-request-priority", "x"),
    ],
)
async def test_bad_headers_are_named_on_both(server: Server, header: str, value: str) -> None:
    rest = await server.post(CLASSIFY.route, {"text": "a"}, headers={header: value})
    data = message_bytes(CLASSIFICATION, CLASSIFY, {"text": ["a"]})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.rpc(CLASSIFICATION.rpc(CLASSIFY), data, metadata=((header, value),))
    assert rest.status_code == 400
    assert rest.json()["error"]["message"] == caught.value.details()
    assert header in caught.value.details()
