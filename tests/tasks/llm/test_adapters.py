"""Loading and unloading as requests: who may, what is told, and that the library changed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.core.adapters import AdapterLibrary
from services.core.batching import Batcher
from services.core.catalog import Catalog, ModelSpec
from services.core.context import CallContext
from services.core.errors import Code, ServingError
from services.core.inference import InferenceService, Loaded
from services.core.pipelines import Pipeline
from services.core.task import Method, Task
from services.core.telemetry import BatchTelemetry
from services.runtime.meters import PrometheusMeter
from services.tasks.llm.adapter_schema import LoadAdapterRequest, UnloadAdapterRequest, UnloadAdapterResponse
from services.tasks.llm.adapters import LoadAdapterPipeline, UnloadAdapterPipeline
from tests.adapters import BASE, tensors, write_adapter, write_base

SPEC = ModelSpec(task="llm", name="tiny", description="", engine="x", licence="none", max_adapter_rank=8, default=True)


class Busy:
    """So many sequences run on each adapter."""

    def __init__(self) -> None:
        self.count = 0

    def running(self, digest: str) -> int:
        assert len(digest) == 64
        return self.count


class World:
    """A base that is served, its library, and adapters that may be loaded."""

    def __init__(self, folder: Path) -> None:
        self.busy = Busy()
        self.paths = [str(write_adapter(folder / "allowed" / name, seed)) for seed, name in enumerate(("one", "two"))]
        self.library = AdapterLibrary(folder / "home", (folder / "allowed",))
        self.artefact = write_base(folder / "artefact")
        self.loading = LoadAdapterPipeline.load(SPEC, self.artefact, self.busy, adapters=self.library)
        self.unloading = UnloadAdapterPipeline.load(SPEC, self.artefact, self.busy, adapters=self.library)

    def load(self, **fields: Any) -> Any:
        return answer(self.loading, LoadAdapterRequest(**{"name": "poet", "path": self.paths[0], **fields}))

    def unload(self, **fields: Any) -> Any:
        return answer(self.unloading, UnloadAdapterRequest(**{"name": "poet", **fields}))


def answer(pipeline: Pipeline, request: Any) -> Any:
    items = pipeline.prepare(request)
    outputs = pipeline.run([item.payload for item in items])
    if isinstance(outputs[0], ServingError):
        raise outputs[0]
    return pipeline.finish(request, items, outputs)


def code_of(call: Callable[..., Any], **fields: Any) -> Code:
    with pytest.raises(ServingError) as caught:
        call(**fields)
    return caught.value.code


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_adapter_is_loaded_once_and_unloaded(world: World) -> None:
    loaded = world.load()
    found = world.library.find(BASE, "poet")
    assert (loaded.model, loaded.adapter, loaded.already) == (BASE, "tiny@1:poet@1", False)
    assert (loaded.digest, loaded.rank) == (found.digest, 4)
    assert world.load() == loaded.model_copy(update={"already": True})
    unloaded = world.unload()
    assert (unloaded.model, unloaded.adapters, unloaded.running) == (BASE, ("tiny@1:poet@1",), 0)
    assert world.library.list() == ()
    assert code_of(world.unload) == Code.NOT_FOUND


def test_other_files_under_a_name_only_if_asked_for(world: World) -> None:
    world.load()
    assert code_of(world.load, path=world.paths[1]) == Code.CONFLICT
    assert world.load(path=world.paths[1], load_inplace=True).adapter == "tiny@1:poet@2"
    assert world.unload(version="1").adapters == ("tiny@1:poet@1",)
    assert world.library.find(BASE, "poet").version == "2"
    assert code_of(world.unload, version="1") == Code.NOT_FOUND


def test_what_is_in_use_stays_unless_forced(world: World) -> None:
    world.load()
    world.busy.count = 3
    with pytest.raises(ServingError, match="3 sequences run on 'poet'; retry when they have ended, or set force"):
        world.unload()
    assert world.library.find(BASE, "poet")
    assert world.unload(force=True).running == 3
    assert world.library.list() == ()


def test_a_request_that_fails_in_a_run_does_not_repeat_the_others(world: World) -> None:
    world.load()
    gone, unknown = world.unloading.run([UnloadAdapterRequest(name="poet"), UnloadAdapterRequest(name="poet")])
    assert gone.adapters == ("tiny@1:poet@1",)
    assert isinstance(unknown, ServingError)


async def test_calls_at_once_are_each_told_their_own(world: World) -> None:
    world.load()
    unload = Method("UnloadAdapter", UnloadAdapterRequest, UnloadAdapterResponse, "", idempotent=False)
    task, meter = Task("llm", (unload,), (), 9050), PrometheusMeter()
    loaded = [Loaded(SPEC, ("UnloadAdapter",), world.unloading)]
    service = InferenceService(Catalog([SPEC]), loaded, Batcher(1, BatchTelemetry(meter)), meter)
    context = CallContext("id", "local", time.monotonic() + 30)
    calls = [service.infer(task, unload, UnloadAdapterRequest(name="poet"), context) for _ in range(5)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.to_thread(service.close)
    assert sum(isinstance(one, UnloadAdapterResponse) for one in told) == 1
    assert sum(isinstance(one, ServingError) and one.code == Code.NOT_FOUND for one in told) == 4


def test_adapters_of_another_base_are_refused(world: World) -> None:
    for place in ("layers.9", "layers.0.self_attn.k_proj"):
        weights = {name.replace("layers.0", place): value for name, value in tensors().items()}
        write_adapter(Path(world.paths[0]), weights=weights)
        assert code_of(world.load) == Code.INVALID_ARGUMENT
    assert code_of(world.load, path=str(write_adapter(Path(world.paths[1]), r=16))) == Code.INVALID_ARGUMENT


def test_paths_outside_the_roots_are_refused(world: World, tmp_path: Path) -> None:
    outside = write_adapter(tmp_path / "outside")
    for path in (str(outside), f"{tmp_path}/allowed/../outside", "someone/poet"):
        assert code_of(world.load, path=path) == Code.PERMISSION_DENIED
    assert code_of(world.load, path=f"{tmp_path}/allowed/none") == Code.NOT_FOUND


def test_without_roots_requests_change_nothing(world: World, tmp_path: Path) -> None:
    world.load()
    library = AdapterLibrary(tmp_path / "home")
    loading = LoadAdapterPipeline.load(SPEC, world.artefact, world.busy, adapters=library)
    unloading = UnloadAdapterPipeline.load(SPEC, world.artefact, world.busy, adapters=library)
    for pipeline, request in (
        (loading, LoadAdapterRequest(name="other", path=world.paths[0])),
        (unloading, UnloadAdapterRequest(name="poet", force=True)),
    ):
        with pytest.raises(ServingError, match="set CHORALE_ADAPTER_ROOTS") as caught:
            answer(pipeline, request)
        assert caught.value.code == Code.PERMISSION_DENIED
    assert [adapter.name for adapter in library.list()] == ["poet"]


def test_models_that_take_no_adapters_say_so(world: World, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"max_adapter_rank": 0})
    for pipeline, request in (
        (LoadAdapterPipeline.load(spec, tmp_path, world.busy), LoadAdapterRequest(name="poet", path="/x")),
        (UnloadAdapterPipeline.load(spec, tmp_path, world.busy), UnloadAdapterRequest(name="poet")),
    ):
        with pytest.raises(ServingError, match="tiny@1 takes no adapters"):
            pipeline.prepare(request)


def test_the_default_base_is_one_that_takes_adapters() -> None:
    other = SPEC.model_copy(update={"name": "plain", "max_adapter_rank": 0})
    catalog = Catalog([other, SPEC.model_copy(update={"default": False})])
    request = UnloadAdapterRequest(name="poet", version="")
    assert request.version is None
    assert catalog.resolve("llm", request.model, request.suits).id == BASE


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../x"},
        {"name": ""},
        {"model": "tiny:poet"},
        {"version": "a/b"},
        {"path": ""},
        {"path": "x" * 5000},
    ],
)
def test_fields_that_are_not_valid(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        LoadAdapterRequest(**{"name": "poet", "path": "/x", **fields})
