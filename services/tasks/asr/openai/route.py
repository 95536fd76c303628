"""One route of OpenAI's: bodies, as forms or JSON, become calls of speech recognition."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.core.bodies import read_body
from services.core.dialect import JSON, Call
from services.core.errors import invalid
from services.core.forms import Form, read_form
from services.core.task import Method
from services.tasks.asr import TRANSCRIBE, TRANSCRIBE_PARTS
from services.tasks.asr.openai.bodies import TranscriptionBody, TranslationBody
from services.tasks.asr.openai.writing import TranscriptionWriter


@dataclass(frozen=True)
class Route:
    """An `UploadDialect`.

    Args:
        route: REST path.
        body: what bodies are.
        answer: what whole answers are.
        event: what events are; None where none are.
    """

    route: str
    body: type[TranscriptionBody | TranslationBody]
    answer: type[Any]
    event: type[Any] | None
    method: Method = TRANSCRIBE
    media: str = JSON

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, TranscriptionWriter]:
        """The request, and who writes its answer. Raises ServingError."""
        return _called(read_body(body, self.body))

    def decode_form(self, form: Form, identity: str) -> tuple[Call, TranscriptionWriter]:
        """The same of a form."""
        return _called(read_form(form, self.body))


def _called(asked: TranscriptionBody | TranslationBody) -> tuple[Call, TranscriptionWriter]:
    try:
        request = asked.request
    except ValidationError as error:
        raise invalid(error) from error
    return Call(TRANSCRIBE_PARTS if asked.stream else TRANSCRIBE, (request,)), TranscriptionWriter(asked)
