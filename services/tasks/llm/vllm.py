"""vLLM's shapes of loading and unloading adapters: ``/v1/load_lora_adapter`` and ``/v1/unload_lora_adapter``.

There the adapter's name alone is what requests give as their model; here that is ``<base>:<name>``. Both are taken.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from services.core.dialect import Call
from services.core.errors import Code, ServingError, invalid
from services.core.schema import Request, Response
from services.core.task import Method
from services.tasks.llm import LOAD_ADAPTER, UNLOAD_ADAPTER
from services.tasks.llm.adapter_schema import LoadAdapterRequest, UnloadAdapterRequest


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    lora_name: str = Field(min_length=1)
    base_model_name: str | None = None

    @property
    def target(self) -> dict[str, str | None]:
        """Base, name and version."""
        base, colon, adapter = self.lora_name.rpartition(":")
        name, _, version = adapter.partition("@")
        if colon and self.base_model_name not in (None, base):
            raise ServingError(
                Code.INVALID_ARGUMENT, "lora_name: names another base than base_model_name; give one.", "lora_name"
            )
        model = base if colon else self.base_model_name
        return {"model": model, "name": name if version else adapter, "version": version or None}


class LoadBody(_Body):
    """Body of ``/v1/load_lora_adapter``."""

    lora_path: str
    load_inplace: bool = False


class UnloadBody(_Body):
    """Body of ``/v1/unload_lora_adapter``."""

    lora_int_id: int | None = None
    """vLLM's own number of it; means nothing here."""


def decode_load(body: bytes | bytearray) -> tuple[LoadAdapterRequest, str]:
    """The request, and the name as the client said it.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    try:
        given = LoadBody.model_validate_json(body)
        request = LoadAdapterRequest.model_validate(
            {**given.target, "path": given.lora_path, "load_inplace": given.load_inplace}
        )
    except ValidationError as error:
        raise invalid(error) from error
    return request, given.lora_name


def decode_unload(body: bytes | bytearray) -> tuple[UnloadAdapterRequest, str]:
    """The request, and the name as the client said it.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    try:
        given = UnloadBody.model_validate_json(body)
        return UnloadAdapterRequest.model_validate(given.target), given.lora_name
    except ValidationError as error:
        raise invalid(error) from error


TEXT = "text/plain; charset=utf-8"


class Done(RootModel[str]):
    """A sentence that says so."""


class Said:
    """Writes that it is done, as plain text."""

    media = TEXT

    def __init__(self, name: str, done: str) -> None:
        self._said = f"Success: LoRA adapter '{name}' {done} successfully."

    def whole(self, answers: Sequence[Response]) -> bytes:
        """The sentence."""
        return self._said.encode()

    def part(self, part: Response) -> Iterable[bytes]:
        """Not streamed."""
        return ()

    def end(self) -> Iterable[bytes]:
        """Not streamed."""
        return ()


@dataclass(frozen=True)
class Lora:
    """One of the routes."""

    route: str
    method: Method
    body: type[BaseModel]
    read: Callable[[bytes | bytearray], tuple[Request, str]]
    done: str
    answer: type[BaseModel] = Done
    event: None = None
    media: str = TEXT

    def decode(self, body: bytes | bytearray, identity: str) -> tuple[Call, Said]:
        """The request, and how its answer is written. Raises ServingError."""
        request, name = self.read(body)
        return Call(self.method, (request,)), Said(name, self.done)


LOAD = Lora("/v1/load_lora_adapter", LOAD_ADAPTER, LoadBody, decode_load, "added")
UNLOAD = Lora("/v1/unload_lora_adapter", UNLOAD_ADAPTER, UnloadBody, decode_unload, "removed")
