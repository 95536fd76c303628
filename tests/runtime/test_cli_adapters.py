"""``chorale adapters`` on a catalog with one base that takes some."""

from pathlib import Path

import pytest

from models.store import ArtefactStore
from services.core.adapters import AdapterLibrary
from services.core.settings import Settings
from services.runtime.cli import main
from services.runtime.loading import read_world
from tests.adapters import BASE, write_adapter, write_base

CATALOG = """
models:
  - name: tiny
    description: takes adapters
    default: true
    engine: echo
    max_adapter_rank: 8
    licence: none
  - name: plain
    description: takes none
    engine: echo
    licence: none
"""


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "echo.yaml").write_text(CATALOG)
    for name, value in {"HOME": tmp_path / "home", "CATALOG": tmp_path / "catalog", "TASKS": "echo"}.items():
        monkeypatch.setenv(f"CHORALE_{name}", str(value))
    monkeypatch.setenv("COLUMNS", "200")


def base() -> None:
    settings = Settings()
    write_base(ArtefactStore(settings.home).folder(read_world(settings)[1].specs[0]))


@pytest.fixture
def chorale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "type[Command]":
    Command.patch, Command.output = monkeypatch, capsys
    return Command


class Command:
    """Runs the command; what it said, and how it ended."""

    patch: pytest.MonkeyPatch
    output: pytest.CaptureFixture[str]

    def __init__(self, *arguments: object) -> None:
        self.patch.setattr("sys.argv", ["chorale", "adapters", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        self.code = ended.value.code or 0
        self.said, self.error = self.output.readouterr()


def test_adapters_are_added_listed_and_removed(chorale: type[Command], tmp_path: Path) -> None:
    base()
    one, two = write_adapter(tmp_path / "one", 1), write_adapter(tmp_path / "two", 2)
    assert "tiny@1:poet@1: added, rank 4" in chorale("add", one, "--name", "poet", "--base", "tiny").said
    assert "tiny@1:poet@1: was there already" in chorale("add", one, "--name", "poet", "--base", BASE).said
    refused = chorale("add", two, "--name", "poet", "--base", "tiny")
    assert (refused.code, "has other files" in refused.error) == (1, True)
    assert chorale("add", two, "--name", "poet", "--base", "tiny", "--version", "next", "--replace").code == 0
    rows = [line.split() for line in chorale("list").said.splitlines()]
    assert [row[1:3] for row in rows[1:]] == [["poet", "next"], ["poet", "1"]]
    assert rows[1][3] == "(current)"
    assert "q_proj, up_proj" in chorale("list").said
    assert "poet@next: removed" in chorale("remove", "poet", "--base", "tiny", "--version", "next").said
    assert "poet@1: removed" in chorale("remove", "poet", "--base", "tiny").said
    assert AdapterLibrary(tmp_path / "home").list() == ()


def test_what_can_be_mended_is_one_sentence(chorale: type[Command], tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "one")
    for arguments, sentence in (
        (["add", folder, "--name", "poet", "--base", "tiny"], "no sound model.safetensors"),
        (
            ["add", folder, "--name", "poet", "--base", "plain"],
            "that takes adapters; there are: tiny@1",
        ),
        (["remove", "poet", "--base", "tiny"], "No adapter 'poet' for tiny@1; use one of: none."),
    ):
        ended = chorale(*arguments)
        assert ended.code == 1
        assert ended.error.startswith("error: ")
        assert sentence in ended.error
    base()
    for name, source in (("../x", folder), ("poet", tmp_path / "none")):
        assert chorale("add", source, "--name", name, "--base", "tiny").code == 1


def test_text_of_strangers_does_not_rule_the_terminal(chorale: type[Command], tmp_path: Path) -> None:
    base()
    folder = write_adapter(tmp_path / "one", base_model_name_or_path="[red]\x1b[2Jx")
    chorale("add", folder, "--name", "poet", "--base", "tiny")
    assert "'[red]\\x1b[2Jx'" in chorale("list").said


def test_who_left_the_task_out_is_told(chorale: type[Command], tmp_path: Path) -> None:
    (tmp_path / "catalog" / "echo.yaml").write_text(CATALOG.replace("max_adapter_rank: 8", ""))
    ended = chorale("remove", "poet", "--base", "tiny")
    assert ended.code == 1
    assert "there are: none; name the task in CHORALE_TASKS" in ended.error
