"""One route of OpenAI's: bodies become calls of text generation, and who writes the answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from services.core.bodies import read_body
from services.core.dialect import JSON, Call
from services.core.errors import invalid
from services.core.task import Method
from services.tasks.llm import GENERATE, STREAM_GENERATE
from services.tasks.llm.openai.fields import Body
from services.tasks.llm.openai.writing import PageWriter

BodyT = TypeVar("BodyT", bound=Body)


@dataclass(frozen=True)
class Route(Generic[BodyT]):
    """A `Dialect`.

    Args:
        route: REST path.
        body: what bodies are.
        writer: of the answer to the call of this id, with this body.
        answer: what whole answers are.
        event: what chunks are.
    """

    route: str
    body: type[BodyT]
    writer: Callable[[str, BodyT], PageWriter]
    answer: type[Any]
    event: type[Any]
    method: Method = GENERATE
    media: str = JSON

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, PageWriter]:
        """The requests, and who writes their answer. Raises ServingError."""
        asked = read_body(body, self.body)
        try:
            requests = asked.native()
        except ValidationError as error:
            raise invalid(error) from error
        return Call(STREAM_GENERATE if asked.stream else GENERATE, requests), self.writer(identity, asked)
