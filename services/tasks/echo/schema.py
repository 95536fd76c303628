"""Request and answer of echo; fields are those of ``chorale.echo.v1``."""

from pydantic import Field

from services.core.schema import LimitedTextRequest, Record, Response


class EchoRequest(LimitedTextRequest):
    """Texts to send back."""


class EchoResult(Record):
    """One text."""

    text: str = Field(description="The text that was sent.")


class EchoResponse(Response):
    """One result per text, in order."""

    results: tuple[EchoResult, ...] = Field(description="One per text of the request, in its order.")


class EchoPart(Response):
    """One text of the request, in its order."""

    text: str = Field(description="The text that was sent.")
