"""Adapters that a catalog entry has for its model: in the adapter library once the model is built."""

from functools import partial
from pathlib import Path

from models.sources import fetch
from services.core.adapters import Adapter, AdapterLibrary, check_adapter, linear_shapes, read_manifest
from services.core.catalog import ModelSpec, Source


def missing(spec: ModelSpec, home: Path) -> tuple[str, ...]:
    """Those of the model that no version in the library is; which version the bare name means is the operator's."""
    library = AdapterLibrary(home)
    return tuple(
        name
        for name, source in spec.adapters.items()
        if not any(_is(adapter, source) for adapter in library.versions(spec.id, name))
    )


def install(spec: ModelSpec, home: Path, artefact: Path) -> None:
    """Take in those that are missing.

    Raises:
        SourceError: a source is missing or altered.
        ServingError: an adapter does not fit the model.
    """
    if names := missing(spec, home):
        shapes = linear_shapes(artefact)
        check = partial(check_adapter, base=spec.id, shapes=shapes, max_rank=spec.max_adapter_rank)
        for name in names:
            AdapterLibrary(home).add(spec.id, name, fetch(spec.adapters[name]), None, check, replace=True)


def _is(adapter: Adapter, source: Source) -> bool:
    manifest = read_manifest(adapter.folder)
    return manifest is not None and all(manifest.files.get(name) == digest for name, digest in source.sha256.items())
