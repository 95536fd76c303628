"""Requests and answers of loading and unloading adapters; fields are those of ``chorale.llm.v1``."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.core.catalog import ModelSpec, Name
from services.core.schema import Request, Response

# protobuf cannot tell empty from absent; JSON shall not differ
Version = Annotated[Name | None, BeforeValidator(lambda value: value or None)]


class AdapterRequest(Request):
    """One over an adapter; its `model` is the base."""

    name: Name = Field(description="Name of the adapter: requests say `<model>:<name>`.")
    version: Version = Field(default=None, description="Version of the adapter.")

    @model_validator(mode="after")
    def _model_is_the_base(self) -> Self:
        if ":" in (self.model or ""):
            raise PydanticCustomError("base", "model: give the base alone; the adapter is in name")
        return self

    def suits(self, spec: ModelSpec) -> bool:
        """Only models that take adapters."""
        return spec.max_adapter_rank > 0


class LoadAdapterRequest(AdapterRequest):
    """An adapter to be served. Without a version it gets the next number; from then on its bare name means it."""

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="Folder on the server with the adapter as PEFT saves it, below one of CHORALE_ADAPTER_ROOTS.",
    )
    load_inplace: bool = Field(
        default=False, description="The name may mean other files so far; by default that is a conflict."
    )


class LoadAdapterResponse(Response):
    """The adapter that is served now."""

    adapter: str = Field(description="Its full id, to be used as a request's `model`.")
    digest: str = Field(description="SHA-256 over its files.")
    rank: int = Field(description="Rank of its matrices.")
    already: bool = Field(description="Whether the same files were there under this name and version before.")


class UnloadAdapterRequest(AdapterRequest):
    """An adapter to be served no more: one version, or all of its name."""

    force: bool = Field(
        default=False,
        description="Take it away even if sequences run on it; those end as they would. By default that is a conflict.",
    )


class UnloadAdapterResponse(Response):
    """What was taken away."""

    adapters: tuple[str, ...] = Field(description="Full ids of the versions that are gone.")
    running: int = Field(description="Sequences that still run on them in the process that answered.")
