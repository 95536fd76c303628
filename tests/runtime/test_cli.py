"""What the command says to wrong arguments: one sentence, exit code 1 or 2, no stack trace."""

from pathlib import Path

import pytest

from services import __version__
from services.runtime.cli import main

ROOT = Path(__file__).parents[2]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["chorale", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["models", "build", "nobody"], "no model 'nobody'; known: moonshine-tiny-en@1"),
        (["models", "verify", "nobody"], "no model 'nobody'"),
        (["models", "list", "--tasks", "nonsense"], "unknown task nonsense; known: asr, classification, echo"),
        (["eval", "nonsense", "--data", __file__], "unknown task nonsense"),
        (["eval", "classification", "--data", __file__, "--model", "nobody"], "use one of: sentiment-en@1"),
        (["eval", "echo", "--data", __file__], "needs no artefact"),
        (["serve", "--rest-port", "0"], "settings: rest_port"),
    ],
)
def test_what_can_be_mended_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["serve", "--rest-port", "many"],
        ["eval", "classification"],
        ["eval", "classification", "--data", "/no"],
    ],
)
def test_wrong_usage_exits_with_2(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    assert run(monkeypatch, *arguments) == 2


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_list_shows_every_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "models", "list", "--tasks", "classification,echo") == 0
    shown = capsys.readouterr().out
    assert "sentiment-en@1 (default)" in shown
    assert "none needed" in shown
