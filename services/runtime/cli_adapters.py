"""``chorale adapters``: adapters taken in, taken away and shown. Works on files: a running server sees it at once."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from models.store import ArtefactStore
from services.core.adapters import Adapter, AdapterLibrary, check_adapter, linear_shapes, read_manifest
from services.core.catalog import Catalog, ModelSpec
from services.core.errors import OperatorError
from services.runtime.terminal import TasksOption, console, settings_from, world_of

adapters_app = typer.Typer(help="LoRA adapters of the models that take some.", no_args_is_help=True)

_SHOWN = 60

BaseOption = Annotated[str, typer.Option(help="Id of the model it is for.")]
VersionOption = Annotated[str | None, typer.Option(help="Its version.")]


@adapters_app.command("add")
def add_adapter(
    folder: Annotated[Path, typer.Argument(help="Folder that PEFT saved: config and safetensors.")],
    name: Annotated[str, typer.Option(help="What requests call it, after the model: base:name.")],
    base: BaseOption,
    version: VersionOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="The name may mean other files so far.")] = False,
) -> None:
    """Check an adapter and serve it from now on. Without --version it gets the next number."""
    settings = settings_from()
    spec = _base(world_of(settings)[1], base)
    shapes = linear_shapes(ArtefactStore(settings.home).folder(spec))
    check = partial(check_adapter, base=spec.id, shapes=shapes, max_rank=spec.max_adapter_rank)
    adapter, already = AdapterLibrary(settings.home).add(spec.id, name, folder, version, check, replace=replace)
    size = sum(path.stat().st_size for path in adapter.folder.iterdir())
    state = "was there already" if already else "added"
    console.print(f"{adapter.id}: {state}, rank {adapter.rank}, {size / 1e6:.1f} MB, sha256 {adapter.digest[:12]}")


@adapters_app.command("remove")
def remove_adapter(
    name: Annotated[str, typer.Argument(help="Name of the adapter.")], base: BaseOption, version: VersionOption = None
) -> None:
    """Take an adapter away: one version, or all. What runs on it ends as it would."""
    settings = settings_from()
    spec = _base(world_of(settings)[1], base)
    library = AdapterLibrary(settings.home)
    going = library.versions(spec.id, name, version)
    library.remove(spec.id, name, version)
    for adapter in going:
        console.print(f"{adapter.id}: removed")


@adapters_app.command("list")
def list_adapters(tasks: TasksOption = None) -> None:
    """All adapters; the version that the bare name means is marked."""
    settings = settings_from(tasks=tasks)
    _, catalog = world_of(settings)
    library = AdapterLibrary(settings.home)
    table = Table("base", "adapter", "version", "rank", "modules", "trained on", "sha256", box=None, pad_edge=False)
    for spec in (spec for spec in catalog.specs if spec.max_adapter_rank):
        for one in library.list(spec.id):
            current = library.current(one.base, one.name) == one.version
            version = f"{one.version}{' (current)' if current else ''}"
            table.add_row(one.base, one.name, version, str(one.rank), *_sealed(one), one.digest[:12])
    console.print(table)


def _sealed(adapter: Adapter) -> tuple[str, Text]:
    """The modules it changes, and the base that its config names: whatever text that is."""
    manifest = read_manifest(adapter.folder)
    declared = manifest.declared[:_SHOWN] if manifest else ""
    return ", ".join(manifest.targets if manifest else ()), Text(declared if declared.isprintable() else repr(declared))


def _base(catalog: Catalog, model: str) -> ModelSpec:
    takers = [spec for spec in catalog.specs if spec.max_adapter_rank]
    found = [spec for spec in takers if model in (spec.id, spec.name, *spec.aliases)]
    if not found:
        known = ", ".join(spec.id for spec in takers) or "none"
        hint = "" if takers else "; name the task in CHORALE_TASKS, as for the server"
        raise OperatorError(f"no model {model!r} that takes adapters; there are: {known}{hint}")
    return found[-1]  # the newest, as for a request
