"""Whisper by others, in their own environment: faster-whisper and openai-whisper, each called one clip at a time.

Run as ``python -m loadtests.peers.whisper <way> <folder> <seconds> <tokens>``; says clips per second. The folder is
that of `loadtests.asr.shape`. Greedy, no temperatures to fall back to, and no times: with them, both would cut a clip
anew wherever the model thinks that a sentence ends.
Imports nothing of Chorale.
"""
# mypy: disable-error-code="import-not-found"

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.float32]
Transcribe = Callable[[Clip], int]
"""Returns how many tokens a clip got."""

_END = 50_257
_PROMPT = 4
"""Tokens before the first new one, where no times are written."""


def faster_whisper(folder: Path, tokens: int) -> Transcribe:
    """Int8, and as many threads as it takes by itself."""
    from faster_whisper import WhisperModel

    model: Any = WhisperModel(str(folder / "faster"), device="cpu")

    def transcribe(clip: Clip) -> int:
        segments, _ = model.transcribe(
            clip,
            language="en",
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            suppress_tokens=[-1, _END],
            max_new_tokens=2 * tokens - _PROMPT,  # CTranslate2 writes no more than half of prompt and these
        )
        return sum(len(segment.tokens) for segment in segments)

    return transcribe


def openai_whisper(folder: Path, tokens: int) -> Transcribe:
    """Float32 on torch, with as many threads as it takes by itself."""
    import whisper

    model: Any = whisper.load_model(str(folder / "openai" / "whisper.pt"), device="cpu")

    def transcribe(clip: Clip) -> int:
        found = model.transcribe(
            clip,
            language="en",
            temperature=0.0,
            fp16=False,
            without_timestamps=True,
            suppress_tokens=f"-1,{_END}",
            sample_len=tokens,
        )
        return sum(len(segment["tokens"]) for segment in found["segments"])

    return transcribe


WAYS = {"faster-whisper": faster_whisper, "openai-whisper": openai_whisper}


def rate(transcribe: Transcribe, clips: list[Clip], seconds: float, tokens: int) -> float:
    """Clips per second, after one to warm up.

    Raises:
        ValueError: a clip did not get all its tokens.
    """
    transcribe(clips[0])
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        if (said := transcribe(clips[count % len(clips)])) != tokens:
            raise ValueError(f"a clip got {said} of {tokens} tokens")
        count += 1
    return count / spent


if __name__ == "__main__":
    way, folder, seconds, tokens = sys.argv[1:]
    transcribe = WAYS[way](Path(folder), int(tokens))
    clips = list(np.load(Path(folder) / "clips.npy"))
    print(json.dumps(rate(transcribe, clips, float(seconds), int(tokens))))  # noqa: T201
