"""Routes of tasks and their dialects, which no two tasks may share."""

import pytest

from services.core.dialect import refuse_shared_routes
from services.core.errors import OperatorError
from services.core.schema import Request, Response
from services.core.task import Method, Task

CHAT = "services.tasks.llm.openai.chat:DIALECT"
COMPLETIONS = "services.tasks.llm.openai.completions:DIALECT"


class Completions(Method):
    """A method whose own route is a dialect's."""

    route = "/v1/completions"


def task(name: str, *dialects: str, method: type[Method] = Method) -> Task:
    return Task(name, (method(name.title(), Request, Response, "x:y"),), (), 1, dialects=dialects)


def test_each_has_its_own() -> None:
    refuse_shared_routes([task("writer", CHAT), task("poet", COMPLETIONS), task("clerk")])


@pytest.mark.parametrize(
    ("tasks", "route"),
    [
        ([task("poet", COMPLETIONS, CHAT), task("clerk"), task("rival", CHAT)], "/v1/chat/completions"),
        ([task("poet", COMPLETIONS), task("rival", method=Completions)], "/v1/completions"),
        ([task("poet", method=Completions), task("rival", COMPLETIONS)], "/v1/completions"),
    ],
)
def test_a_route_of_two_tasks_is_refused_with_both_names(tasks: list[Task], route: str) -> None:
    with pytest.raises(OperatorError, match=f"^tasks poet and rival both have the route {route}; leave one"):
        refuse_shared_routes(tasks)


def test_a_dialect_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="has no 'NOTHING'"):
        refuse_shared_routes([task("poet", "services.tasks.llm.openai.chat:NOTHING")])
