"""Three hours of speech: in bounded memory, in order, with progress."""

import json
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from services.core.audio import SPEECH_RATE
from services.tasks.asr import TRANSCRIBE_PARTS
from tests.runtime.process import chorale
from tests.tasks.asr.recognizing import SPEECH

HOURS = 3
GAP = np.zeros(SPEECH_RATE, np.float32)


def long_recording(file: Path) -> int:
    """Writes it; how often the example is in it."""
    once = np.concatenate((SPEECH, GAP))
    times = HOURS * 3600 * SPEECH_RATE // len(once)
    with soundfile.SoundFile(file, "w", SPEECH_RATE, 1, "PCM_16", format="FLAC") as out:
        for _ in range(times):
            out.write(once)
    return times


def held(process: psutil.Process) -> int:
    """Bytes of its own: pages of the upload, a file it has mapped, are the system's to drop."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_three_hours_stream_through(tmp_path: Path) -> None:
    times = long_recording(tmp_path / "long.flac")
    arguments = ("--in-process", "--tasks", "asr")
    with chorale(*arguments) as server, (tmp_path / "long.flac").open("rb") as file:
        server.wait_ready(120)
        process = psutil.Process(server.process.pid)
        before, most, texts, progress = held(process), 0, [], []
        call = httpx.stream(
            "POST",
            server.url + TRANSCRIBE_PARTS.route,
            files={"audio": file},
            headers={"x-request-timeout": "600"},
            timeout=600,
        )
        with call as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    part = json.loads(line.removeprefix("data: "))
                    texts += [segment["text"] for segment in part["segments"]]
                    progress.append(part["progress"])
                    most = max(most, held(process))
    assert len(texts) == times
    assert set(texts) == {"Ask what you can do for your country."}
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert most - before < 100_000_000  # as samples it is 690 MB
