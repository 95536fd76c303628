"""Scores a recogniser on recordings and what is said in them: WER and CER by jiwer, speed, and latency when live.

Error rates are computed on words as they are spoken (`text.spoken`), so that neither punctuation nor the way numbers
are written counts. Word error rate: substitutions, insertions and deletions per word of the references.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import jiwer

from services.core.audio import decode
from services.core.evaluation import Evaluation
from services.core.pipelines import Pipeline
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.rehearsal import Latency, play, transcribe
from services.tasks.asr.schema import TranscribeRequest, TranscribeResponse
from services.tasks.asr.text import spoken

_SUFFIXES = ("", ".flac", ".wav", ".ogg", ".mp3")

_PLAYED = 8
"""Recordings that are also played live, which takes the time that they last."""


def evaluate(pipeline: Pipeline, data: Path, _group_items: int) -> Evaluation:
    """Error rates of the pipeline's model on a file of ``recording<TAB>text`` lines.

    Raises:
        ValueError: a line has no two columns, or its recording is not there.
    """
    served = cast("RecordingPipeline", cast("object", pipeline))
    rows = read_rows(data)
    started = time.perf_counter()
    answers = asyncio.run(_transcribed(served, [file for file, _ in rows]))
    spent = time.perf_counter() - started
    latencies = asyncio.run(_played(served, [file for file, _ in rows[:_PLAYED]]))
    seconds = sum(answer.duration for answer in answers)
    return Evaluation(
        "accuracy",
        {
            **error_rates([text for _, text in rows], [answer.text for answer in answers]),
            "rtf": spent / seconds,
            **_spread("first partial", [latency.first for latency in latencies]),
            **_spread("final", [latency.final for latency in latencies]),
            "recordings": float(len(rows)),
            "seconds": seconds,
        },
        [answer.text for answer in answers],
        (
            "wer and cer on words as they are spoken; rtf: one recording at a time, one thread",
            f"first partial and final: seconds after speech begins and ends, {len(latencies)} recordings played live",
        ),
    )


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """Of texts as they are written; accuracy is 1 - WER, for gates."""
    said = [spoken(text) for text in references]
    found = [spoken(text) for text in hypotheses]
    wer = float(jiwer.wer(said, found))
    return {"wer": wer, "cer": float(jiwer.cer(said, found)), "accuracy": 1.0 - wer}


def read_rows(data: Path) -> list[tuple[Path, str]]:
    """Recordings, by their paths from the file's folder on (the suffix may be left out), and their texts.

    Raises:
        ValueError: names the line.
    """
    rows = []
    for number, line in enumerate(data.read_text(encoding="utf-8").splitlines(), 1):
        name, _, text = line.partition("\t")
        if not spoken(text):
            raise ValueError(f"{data}, line {number}: expected a recording and what is said, with a tab between")
        found = next(filter(Path.is_file, (data.parent / f"{name}{suffix}" for suffix in _SUFFIXES)), None)
        if found is None:
            raise ValueError(f"{data}, line {number}: no recording {name} beside it")
        rows.append((found, text))
    if not rows:
        raise ValueError(f"{data}: no recordings")
    return rows


async def _transcribed(pipeline: RecordingPipeline, files: Sequence[Path]) -> list[TranscribeResponse]:
    return [await transcribe(pipeline, TranscribeRequest(audio=file.read_bytes())) for file in files]


async def _played(pipeline: RecordingPipeline, files: Sequence[Path]) -> list[Latency]:
    found = [await play(pipeline.model, decode(file.read_bytes())) for file in files]
    return [latency for latency in found if latency]


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name} p50": statistics.median(values), f"{name} max": max(values)} if values else {}
