"""What benchmarks of several ways have in common: rounds, pages, errors; and the pages there are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from loadtests.asr import run as asr
from loadtests.bench.comparison import Comparison, Result, Round, Row, verdict
from loadtests.bench.run import RESULTS
from loadtests.bench.server import BenchError
from loadtests.live import run as live
from loadtests.llm import run as llm
from loadtests.translation import run as translation

SLOW, FAST = "slow", "fast"
APPLES: Comparison[Row] = Comparison(
    name="apples",
    title="Apples",
    about="Picked.",
    unit="apples",
    digits=1,
    columns={"of the fast": lambda result, row: f"{result.share(row.name, FAST):.2f}"},
    verdicts=lambda result: [f"At least half: {verdict(result.share(SLOW, FAST), 0.5)}."],
)


def test_rows_of_all_rounds_become_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = iter([4.0, 10.0, 6.0, 10.0, 5.0, 20.0])
    order = []

    def prepare(folder: Path) -> Round[Row]:
        assert list(folder.iterdir()) == []

        def measure() -> Iterator[Row]:
            for name in (SLOW, FAST):
                order.append(name)
                yield Row(name, (next(rates),))

        return measure

    APPLES.run(tmp_path / "new", 3, prepare)
    assert order == [SLOW, FAST] * 3
    page = (tmp_path / "new" / "apples.md").read_text()
    assert page.startswith("# Apples\n\nCommand: `make bench-apples`\n\nPicked.\n\n| | |\n|---|---|\n| date | ")
    assert page.endswith(
        "\n\n| way | apples/s | of the fast |\n|---|---|---|\n| slow | 5.0 (4.0 to 6.0) | 0.40 |\n"
        "| fast | 10.0 (10.0 to 20.0) | 1.00 |\n\nAt least half: 0.40, **no**.\n"
    )
    found = TypeAdapter(Result[Row]).validate_json((tmp_path / "new" / "apples.json").read_bytes())
    assert found.rows == (Row(SLOW, (4.0, 6.0, 5.0)), Row(FAST, (10.0, 10.0, 20.0)))
    said = capsys.readouterr().out
    assert "round 2: slow: 6.0 apples/s\n" in said
    assert page in said


@pytest.mark.parametrize("error", [BenchError("no server"), ValueError("a wrong answer"), OSError("no space")])
def test_what_cannot_be_measured_is_said_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def prepare(_: Path) -> Round[Row]:
        def measure() -> Iterator[Row]:
            yield Row(SLOW, (1.0,))
            raise error

        return measure

    with pytest.raises(SystemExit) as caught:
        APPLES.run(tmp_path / "new", 1, prepare)
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: {error}\n"
    assert not (tmp_path / "new").exists()


def test_what_is_reached_is_yes() -> None:
    assert (verdict(0.7, 0.7), verdict(0.698, 0.7)) == ("0.70, yes", "0.70, **no**")


@pytest.mark.parametrize(
    ("comparison", "row"),
    [
        (asr.COMPARISON, Row),
        (live.COMPARISON, live.LiveRow),
        (llm.COMPARISON, llm.StreamRow),
        (translation.COMPARISON, Row),
    ],
    ids=["asr", "live", "llm", "translation"],
)
def test_the_pages_there_are_say_what_was_measured(comparison: Comparison[Any], row: type[Row]) -> None:
    kept: Any = Result[row]  # type: ignore[valid-type]
    result = TypeAdapter(kept).validate_json((RESULTS / f"{comparison.name}.json").read_bytes())
    assert comparison.markdown(result) == (RESULTS / f"{comparison.name}.md").read_text()
