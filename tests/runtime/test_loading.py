"""What pipelines are handed when models are loaded."""

from pathlib import Path

import pytest

from services.core.adapters import AdapterLibrary
from services.core.catalog import Catalog
from services.core.errors import ServingError
from services.core.inference import Pipeline
from services.core.settings import Settings
from services.core.task import Method, Task
from services.runtime.loading import load_models
from services.runtime.meters import PrometheusMeter
from services.tasks.llm.adapter_schema import UnloadAdapterRequest, UnloadAdapterResponse
from tests.adapters import BASE, CHECK, write_adapter
from tests.serving import fake_spec

PIPELINE = "services.tasks.llm.adapters:UnloadAdapterPipeline"
UNLOAD = Method("UnloadAdapter", UnloadAdapterRequest, UnloadAdapterResponse, PIPELINE, idempotent=False)
TASK = Task(name="t", methods=(UNLOAD,), examples=(), grpc_port=9050)


def outcome(pipeline: Pipeline, request: UnloadAdapterRequest) -> object:
    """What the batcher would tell."""
    (told,) = pipeline.run([item.payload for item in pipeline.prepare(request)])
    if isinstance(told, ServingError):
        raise told
    return told


@pytest.mark.parametrize(("rank", "sentence"), [(0, "takes no adapters"), (8, "use one of: poet.")])
def test_models_that_take_adapters_are_handed_the_library(tmp_path: Path, rank: int, sentence: str) -> None:
    AdapterLibrary(tmp_path).add(BASE, "poet", write_adapter(tmp_path / "source"), None, CHECK)
    spec = fake_spec("tiny", "t", default=True, max_adapter_rank=rank)
    (loaded,) = load_models([TASK], Catalog([spec]), Settings(home=tmp_path), PrometheusMeter())
    with pytest.raises(ServingError, match=sentence):
        outcome(loaded.pipeline, UnloadAdapterRequest(name="clerk"))
