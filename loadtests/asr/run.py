"""Ways to transcribe with one Whisper: how it is made, what a round does, and what is to be reached."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from loadtests.asr.shape import CLIPS, NEW_TOKENS, SECONDS
from loadtests.bench.comparison import Comparison, Result, Round, Row, verdict
from loadtests.bench.modules import run_module
from loadtests.peers.install import ROOT, environment

BATCHED = "Chorale, two lanes of one thread, groups of four"
SINGLE = "Chorale, two lanes of one thread, one by one"
FASTER = "faster-whisper, one clip at a time"
OPENAI = "openai-whisper, one clip at a time"
LANES = {BATCHED: ("2", "1", "4"), SINGLE: ("2", "1", "1")}
"""Lanes, threads of each, clips in an engine run."""

PEERS = {FASTER: "faster-whisper", OPENAI: "openai-whisper"}
TARGETS = [(BATCHED, FASTER, 1.8), (BATCHED, OPENAI, 3.5)]
"""Which row is to reach how many times which other one."""


def run_asr(out: Path, *, quick: bool = False) -> None:
    """Measure, write ``asr.json`` and ``asr.md`` to ``out``, and print the page."""
    COMPARISON.run(out, 1 if quick else 3, partial(_prepare, seconds=2.0 if quick else 8.0))


def _prepare(folder: Path, seconds: float) -> Round[Row]:
    run_module("loadtests.asr.shape", str(folder))
    return partial(_round, folder, seconds)


def _round(folder: Path, seconds: float) -> Iterator[Row]:
    """Peers whose environment is missing are left out."""
    for name, shape in LANES.items():
        yield Row(name, (float(run_module("loadtests.asr.lanes", str(folder), str(seconds), *shape)),))
    peers = environment("whisper")
    if peers.installed:
        for name, way in PEERS.items():
            arguments = (way, str(folder), str(seconds), str(NEW_TOKENS))
            said = run_module(
                "loadtests.peers.whisper",
                *arguments,
                environment={"PYTHONPATH": str(ROOT)},
                python=str(peers.python),
            )
            yield Row(name, (float(said),))


def _share(result: Result[Row], row: Row, of: str) -> str:
    return f"{result.share(row.name, of):.2f}" if _measured(result, of) else ""


def _measured(result: Result[Row], name: str) -> bool:
    return any(row.name == name for row in result.rows)


def _verdicts(result: Result[Row]) -> Iterator[str]:
    for name, of, least in TARGETS:
        if _measured(result, of):
            yield f'- "{name}" at least {least} times "{of}": {verdict(result.share(name, of), least)}'
        else:
            yield f'- "{of}" is not installed (`make peers`), so it was left out.'


COMPARISON = Comparison(
    name="asr",
    title="Speech recognition",
    about=(
        f"A model of the shape of Whisper tiny with random weights, greedy; {CLIPS} clips of {SECONDS} s at once, with"
        f" exactly {NEW_TOKENS} tokens for each, from samples to text. Clips per second, medians over the rounds, least"
        " to most in brackets. Chorale: its engine behind the batcher's lanes, int8. The others with the threads they"
        " take by themselves: faster-whisper in int8, openai-whisper in float32."
    ),
    unit="clips",
    digits=2,
    columns={
        "times faster-whisper": lambda result, row: _share(result, row, FASTER),
        "times openai-whisper": lambda result, row: _share(result, row, OPENAI),
    },
    verdicts=_verdicts,
)
