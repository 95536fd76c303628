"""vLLM's stub in vLLM's place, and artefacts that it takes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.core.catalog import GenerationPolicy, Precision
from services.core.engine import EngineOptions
from services.engines import engine_class
from services.engines.vllm.engine import VllmEngine
from tests.adapters import write_base
from tests.tasks.llm.fakes import END, SIZE, artefact

STUBS = Path(__file__).parents[1] / "stubs"
CONTEXT = 256
POLICY = GenerationPolicy(sequences=4, block_tokens=8, cache_mib=8, step_tokens=64)
OPTIONS = EngineOptions(precision=Precision.BF16, context=CONTEXT, generation=POLICY, max_adapter_rank=8)


@contextmanager
def stubbed() -> Iterator[Any]:
    """While it lasts, ``import vllm`` finds the stub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUBS)
        _forget()
        yield importlib.import_module("vllm.stub")
    _forget()


def _forget() -> None:
    ours = [f"services.engines.vllm.{name}" for name in ("client", "arguments", "sampling")]
    for name in [name for name in sys.modules if name in ours or name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def base(folder: Path) -> Path:
    """An artefact of the base that `tests.adapters` are for."""
    config = {"eos_token_id": END, "vocab_size": SIZE, "max_position_embeddings": 2048}
    return write_base(artefact(folder, "byte-level", config=config))


def started(folder: Path, options: EngineOptions = OPTIONS) -> VllmEngine:
    engine: VllmEngine = engine_class("vllm").load(folder, options)
    return engine
