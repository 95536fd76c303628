import subprocess
import sys

import pytest

from services.core import imports
from services.core.schema import Request
from services.core.task import discover
from services.engines import ENGINES, TEST_ENGINES, engine_class


def test_a_named_thing_is_loaded() -> None:
    assert imports.load("services.core.schema:Request") is Request


@pytest.mark.parametrize("path", ["", "services", "services.core.schema:", ":Request", "services.core.schema.Request"])
def test_a_path_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        imports.load(path)


def test_a_missing_name_and_a_missing_module_are_told_apart() -> None:
    with pytest.raises(ValueError, match=r"services\.core\.schema has no 'Reqest'"):
        imports.load("services.core.schema:Reqest")
    with pytest.raises(ModuleNotFoundError, match=r"services\.nowhere"):
        imports.load("services.nowhere:Request")


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_of_the_table_exists(name: str) -> None:
    assert callable(engine_class(name).load)


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    assert set(ENGINES) >= TEST_ENGINES
    with pytest.raises(ValueError, match="unknown engine 'onyx'; known: onnx"):
        engine_class("onyx")


@pytest.mark.parametrize("task", discover(only=("classification", "echo")), ids=lambda task: task.name)
def test_everything_a_task_names_exists(task: object) -> None:
    for method in task.methods:  # type: ignore[attr-defined]
        assert callable(imports.load(method.pipeline).load)
    if task.evaluation:  # type: ignore[attr-defined]
        assert callable(imports.load(task.evaluation))  # type: ignore[attr-defined]


def test_the_core_and_the_list_of_tasks_bring_in_no_framework() -> None:
    code = (
        "import sys, pkgutil, importlib, services.core as core\n"
        "for found in pkgutil.iter_modules(core.__path__): importlib.import_module(f'services.core.{found.name}')\n"
        "importlib.import_module('services.core.task').discover()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "services" in loaded
    assert not {"torch", "transformers", "ray", "fastapi", "grpc", "onnxruntime", "models"} & set(loaded)
