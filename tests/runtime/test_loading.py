"""What pipelines are handed when models are loaded."""

from pathlib import Path

import pytest

from models.store import ArtefactStore
from services.core.adapters import AdapterLibrary
from services.core.catalog import Catalog
from services.core.errors import OperatorError, ServingError
from services.core.inference import Loaded
from services.core.settings import Settings
from services.core.task import Method, Task
from services.runtime.loading import load_models, read_world
from services.runtime.meters import PrometheusMeter
from services.tasks.llm.adapter_schema import LoadAdapterRequest, LoadAdapterResponse
from tests.adapters import BASE, write_adapter, write_base
from tests.serving import fake_spec

PIPELINE = "services.tasks.llm.adapters:LoadAdapterPipeline"
TASK = Task("t", (Method("LoadAdapter", LoadAdapterRequest, LoadAdapterResponse, PIPELINE),), (), 9050)
RIVAL = """
from services.core.schema import Request, Response
from services.core.task import Method, Task

TASK = Task(
    name="rival",
    methods=(Method("Rival", Request, Response, "x:y"),),
    examples=(),
    grpc_port=9600,
    dialects=("services.tasks.llm.openai.chat:DIALECT",),
)
"""


def load(home: Path, rank: int) -> Loaded:
    spec = fake_spec("tiny", "t", default=True, max_adapter_rank=rank)
    write_base(ArtefactStore(home).folder(spec))
    (loaded,) = load_models([TASK], Catalog([spec]), Settings(home=home, adapter_roots=(home,)), PrometheusMeter())
    return loaded


def test_models_that_take_adapters_are_handed_the_library_and_its_roots(tmp_path: Path) -> None:
    pipeline = load(tmp_path, rank=8).pipeline
    request = LoadAdapterRequest(name="poet", path=str(write_adapter(tmp_path / "source")))
    (answer,) = pipeline.run([item.payload for item in pipeline.prepare(request)])
    assert answer.adapter == AdapterLibrary(tmp_path).find(BASE, "poet").id


def test_others_are_not(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="takes no adapters"):
        load(tmp_path, rank=0).pipeline.prepare(LoadAdapterRequest(name="poet", path="/x"))


def test_tasks_that_share_a_route_are_refused_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rivals" / "rival").mkdir(parents=True)
    (tmp_path / "rivals" / "__init__.py").touch()
    (tmp_path / "rivals" / "rival" / "__init__.py").write_text(RIVAL)
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = Settings(task_packages=("services.tasks", "rivals"), tasks=("llm", "rival"))
    with pytest.raises(OperatorError, match="tasks llm and rival both have the route /v1/chat/completions"):
        read_world(chosen)
