"""Ways to listen: what a round does, and what is to be reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from loadtests.bench.comparison import Comparison, Result, Round, Row
from loadtests.bench.modules import served
from loadtests.live.load import Heard, listen, transcribe
from loadtests.live.sound import Clip, read_clips

ONE, EIGHT = "recordings, one at a time", "recordings, eight at a time"
STREAM, STREAMS = "one live stream", "four live streams"
FIRST, FINAL = 0.5, 0.7
"""Seconds to the first result and to the final one of a stream alone, in which it is to be there."""

LATE = 1.0
"""Seconds to the final result of each of four streams: they keep up."""


@dataclass(frozen=True)
class LiveRow(Row):
    """Also the seconds to the first and the final result in each round: median and largest."""

    first: tuple[tuple[float, float], ...] = ()
    final: tuple[tuple[float, float], ...] = ()


def run_live(out: Path, rounds: int, clips: Path | None) -> None:
    """Measure, write ``live.json`` and ``live.md`` to ``out``, and print the page."""
    COMPARISON.run(out, rounds, lambda _: _prepare(read_clips(clips, 8)))


def _prepare(clips: list[Clip]) -> Round[LiveRow]:
    return partial(_round, clips)


def _round(clips: list[Clip]) -> Iterator[LiveRow]:
    with served({"CHORALE_TASKS": "asr"}) as ports:
        uvloop.run(transcribe(ports.grpc, clips, 2))  # warm
        for name, callers in ((ONE, 1), (EIGHT, 8)):
            yield LiveRow(name, (uvloop.run(transcribe(ports.grpc, clips * 2, callers)),))
        yield _row(STREAM, uvloop.run(listen(ports.grpc, clips, 1)))
        yield _row(STREAMS, uvloop.run(listen(ports.grpc, clips * 2, 4)))


def _row(name: str, heard: Heard) -> LiveRow:
    return LiveRow(name, (heard.rate,), (_spread(heard.first),), (_spread(heard.final),))


def _spread(seconds: tuple[float, ...]) -> tuple[float, float]:
    return median(seconds), max(seconds)


def _told(rounds: tuple[tuple[float, float], ...]) -> str:
    if not rounds:
        return ""
    middle, most = (median(column) * 1000 for column in zip(*rounds, strict=True))
    return f"{middle:.0f} ({most:.0f})"


def _verdicts(result: Result[LiveRow]) -> Iterator[str]:
    rows = {row.name: row for row in result.rows}
    for what, spreads, most in (("first", rows[STREAM].first, FIRST), ("final", rows[STREAM].final, FINAL)):
        seconds = median(spread[1] for spread in spreads)
        yield f"- {what} result of a stream alone within {most:g} s: {seconds:.2f}, {_yes(seconds <= most)}"
    late = median(spread[1] for spread in rows[STREAMS].final)
    yield f"- final results of four streams within {LATE:g} s, so that they keep up: {late:.2f}, {_yes(late <= LATE)}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"


COMPARISON = Comparison(
    name="live",
    title="Speech recognition, recordings and live",
    about=(
        "The default model behind `chorale serve --in-process`, over gRPC, client and server on the same cores. Live:"
        " messages of 50 ms, each when its last sample would have been spoken; seconds to the first result count from"
        " when speech begins, to the final one from when it ends, and it takes half a second of silence to know that it"
        " has. Median over the streams, largest in brackets; medians of both over the rounds."
    ),
    unit="s of sound",
    digits=1,
    columns={
        "first result, ms": lambda _, row: _told(row.first),
        "final result, ms": lambda _, row: _told(row.final),
    },
    verdicts=_verdicts,
)
