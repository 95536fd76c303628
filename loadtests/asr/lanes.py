"""Chorale's share of the work, in a process of its own: the engine behind the batcher's lanes, a caller for each clip.

Run as ``python -m loadtests.asr.lanes <folder> <seconds> <lanes> <threads> <group>``; says clips per second.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

from loadtests.asr.shape import CLIPS, NEW_TOKENS
from services.core.batching import Batcher
from services.core.catalog import BatchPolicy
from services.core.engine import EngineOptions
from services.core.queueing import Item
from services.core.speech import Recognition, Recognized, Utterance
from services.engines.whisper import WhisperRecognizer

HOW = Recognition(language="en", temperature=0.0)
_FRAMES = 3000
_KEY = "whisper"


async def rate(folder: Path, seconds: float, options: EngineOptions, group: int) -> float:
    """Clips per second, after one pass to warm up.

    Raises:
        ValueError: a clip did not get all its tokens.
    """
    engine = WhisperRecognizer.load(folder / "artefact", options)
    batcher = Batcher(options.lanes)
    policy = BatchPolicy(
        group_items=group,
        group_cost=group * _FRAMES,
        window_items=group,
        window_cost=group * _FRAMES,
        gather=0.05,
        queue_seconds=60,
    )
    batcher.register(_KEY, engine.run, policy)
    utterances = [Utterance(clip, HOW) for clip in np.load(folder / "clips.npy")]

    async def call(utterance: Utterance) -> None:
        (found,) = await batcher.submit(_KEY, [Item(utterance, _FRAMES)], time.monotonic() + 600)
        _check(found)

    await asyncio.gather(*map(call, utterances))
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        await asyncio.gather(*map(call, utterances))
        passes += 1
    batcher.close()
    return passes * CLIPS / spent


def _check(found: Recognized) -> None:
    if (said := sum(len(segment.tokens) for segment in found.segments)) != NEW_TOKENS:
        raise ValueError(f"a clip got {said} of {NEW_TOKENS} tokens")


if __name__ == "__main__":
    folder, seconds, lanes, threads, group = sys.argv[1:]
    options = EngineOptions(int(lanes), int(threads), context=2 * NEW_TOKENS)
    print(json.dumps(asyncio.run(rate(Path(folder), float(seconds), options, int(group)))))  # noqa: T201
