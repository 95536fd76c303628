"""The relay in another API's shape: forms with a file, and answers as JSON or as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.core.bodies import read_body
from services.core.dialect import JSON, Call
from services.core.errors import unknown_field
from services.core.forms import Form
from services.core.schema import Record, Response
from services.core.task import Method
from tests.served.relay import RELAY, RelayRequest, RelayResponse


class Body(Record):
    """What to relay, and how to say it."""

    text: str
    response_format: str = "json"


@dataclass(frozen=True)
class Teller:
    """Writes sizes."""

    media: str

    def whole(self, answers: Sequence[Response]) -> bytes:
        sizes = [part.size for answer in answers if isinstance(answer, RelayResponse) for part in answer.parts]
        return (b'{"sizes": %d}' if self.media == JSON else b"%d bytes") % sum(sizes)

    def part(self, part: Response) -> Iterable[bytes]:
        return ()

    def end(self) -> Iterable[bytes]:
        return ()


@dataclass(frozen=True)
class Told:
    """The route."""

    route: str = "/v1/relay/told"
    method: Method = RELAY
    body: type[Body] = Body
    answer: type[Body] = Body
    event: None = None
    media: str = JSON

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, Teller]:
        found = read_body(body, Body)
        return self._call(found.text.encode(), found.response_format)

    def decode_form(self, form: Form, identity: str) -> tuple[Call, Teller]:
        for name in form.fields:
            if name != "response_format":
                raise unknown_field(name)
        return self._call(form.file, form.fields.get("response_format", ("json",))[0])

    def _call(self, data: bytes | memoryview, written: str) -> tuple[Call, Teller]:
        return Call(RELAY, (RelayRequest(data=data),)), Teller(JSON if written == "json" else "text/plain")


TOLD = Told()
