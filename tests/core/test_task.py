from pathlib import Path

import pytest

from services.core.schema import Request, Response
from services.core.task import Kind, Method, Task, discover

TASK_FILE = """
from services.core.schema import Request, Response
from services.core.task import Method, Task

TASK = Task(
    name={name!r},
    methods=(Method({verb!r}, Request, Response, "nowhere:Pipeline"),),
    examples=(),
    grpc_port={port},
    opt_in={opt_in},
)
"""


def package(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, tasks: list[tuple[str, str, int, bool]]) -> str:
    """An importable package of task packages."""
    for number, (task, verb, port, opt_in) in enumerate(tasks):
        folder = root / name / f"task{number}"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(TASK_FILE.format(name=task, verb=verb, port=port, opt_in=opt_in))
    (root / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(root))
    return name


@pytest.mark.parametrize(
    ("verb", "route"),
    [
        ("Classify", "/v1/classify"),
        ("RecognizeEntities", "/v1/recognize-entities"),
        ("DetectLanguage", "/v1/detect-language"),
        ("Embed", "/v1/embed"),
    ],
)
def test_routes_are_the_verb_in_kebab_case(verb: str, route: str) -> None:
    assert Method(verb, Request, Response, "x:y").route == route


def test_names_on_the_wire() -> None:
    method = Method("Classify", Request, Response, "x:y")
    task = Task("classification", (method,), (), 1)
    assert method.kind is Kind.UNARY
    assert task.service == "chorale.classification.v1.ClassificationService"
    assert task.rpc(method) == "/chorale.classification.v1.ClassificationService/Classify"
    assert task.protobuf == "services.pb.chorale.classification.v1.classification_pb2"


def test_tasks_are_found_by_name_and_opt_in_ones_only_when_asked_for() -> None:
    names = [task.name for task in discover()]
    assert names == sorted(names)
    assert "classification" in names
    assert "echo" not in names
    assert [task.name for task in discover(only=("echo", "classification"))] == ["classification", "echo"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown task clasification; known: .*classification.*echo"):
        discover(only=("clasification",))


def test_other_packages_add_tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extra = package(monkeypatch, tmp_path, "extra_tasks", [("zeta", "Zeta", 9501, False), ("eta", "Eta", 9502, True)])
    (tmp_path / extra / "not_a_task").mkdir()
    (tmp_path / extra / "not_a_task" / "__init__.py").touch()
    assert [task.name for task in discover((extra,))] == ["zeta"]
    assert "zeta" in [task.name for task in discover(("services.tasks", extra))]


@pytest.mark.parametrize(
    ("name", "twins", "what"),
    [
        ("twin_names", [("a", "A", 1, False), ("a", "B", 2, False)], "name: a"),
        ("twin_ports", [("a", "A", 1, False), ("b", "B", 1, True)], "grpc_port: 1"),
        ("twin_verbs", [("a", "A", 1, False), ("b", "A", 2, False)], "verb: A"),
    ],
)
def test_duplicates_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, twins: list[tuple[str, str, int, bool]], what: str
) -> None:
    with pytest.raises(ValueError, match=f"two tasks have the same {what}"):
        discover((package(monkeypatch, tmp_path, name, twins),))


def test_a_task_named_twice_is_served_once() -> None:
    assert len(discover(only=("echo", "echo"))) == 1
