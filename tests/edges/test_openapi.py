"""The OpenAPI document says what every route takes and answers."""

import json
import re
from typing import Any

import pytest

from services.core.schema import Request, Response
from services.core.task import Method, Task, discover
from services.edges.openapi import document

TASKS = discover(opt_in=True)
PATHS = document(TASKS, "1")["paths"]


@pytest.mark.parametrize("route", PATHS)
def test_every_answer_has_a_schema(route: str) -> None:
    contents = PATHS[route]["post"]["responses"]["200"]["content"]
    assert contents
    assert all(content["schema"] for content in contents.values())


def test_all_that_is_referred_to_is_there() -> None:
    found = document(TASKS, "1")
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert names == set(found["components"]["schemas"])


def test_records_of_the_same_name_are_told_apart() -> None:
    def method(verb: str, field: str) -> Method:
        body = type("Body", (Request,), {"__annotations__": {field: str}})
        return Method(verb, body, Response, "x:y")

    found = document([Task("a", (method("Ask", "question"), method("Tell", "story")), (), 1)], "1")

    def fields(route: str) -> set[str]:
        schema: Any = found["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return set(found["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"])

    assert fields("/v1/ask") == {"model", "question"}
    assert fields("/v1/tell") == {"model", "story"}
