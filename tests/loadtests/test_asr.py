"""The benchmark of speech recognition: what it says without peers, and the whole of it."""

from pathlib import Path

import pytest

from loadtests.asr.run import BATCHED, COMPARISON, FASTER, LANES, OPENAI, run_asr
from loadtests.bench.comparison import Result, Row
from loadtests.peers.install import environment


def test_targets_are_those_of_the_peers_there_are() -> None:
    rows = [Row(name, (4.0,)) for name in LANES] + [Row(FASTER, (2.0,))]
    page = COMPARISON.markdown(Result({}, tuple(rows)))
    assert f'- "{BATCHED}" at least 1.8 times "{FASTER}": 2.00, yes' in page
    assert f'- "{OPENAI}" is not installed (`make peers`), so it was left out.' in page
    assert f"| {BATCHED} | 4.00 (4.00 to 4.00) | 2.00 |  |" in page


def test_peers_have_the_libraries_of_chorale() -> None:
    from importlib.metadata import version

    pinned = environment("whisper")
    assert pinned.without == ("triton",)
    for package in ("ctranslate2", "numpy", "tokenizers"):
        assert pinned.version(package) == version(package)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_contenders_give_every_clip_its_tokens(tmp_path: Path) -> None:
    run_asr(tmp_path, quick=True)
    page = (tmp_path / "asr.md").read_text()
    assert all(name in page for name in (*LANES, FASTER, OPENAI))
