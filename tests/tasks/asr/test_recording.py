"""Recordings: parts in order, in bounded memory, and the errors of bad ones."""

import asyncio
import io
import itertools
import tracemalloc
from contextlib import aclosing

import numpy as np
import pytest
import soundfile

from services.core.audio import SPEECH_RATE, Samples
from services.core.conversing import once
from services.core.errors import Code, ServingError
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.schema import TranscribeRequest
from tests.tasks.asr.recognizing import EXAMPLE, SPEECH, model, speech
from tests.tasks.asr.talking import Lanes, parts

SILENCE = np.zeros(SPEECH_RATE, np.float32)


def flac(samples: Samples, rate: int = SPEECH_RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


@pytest.fixture
def pipeline() -> RecordingPipeline:
    return RecordingPipeline(model())


async def test_parts_are_in_order_and_make_the_whole(pipeline: RecordingPipeline) -> None:
    request = TranscribeRequest(audio=flac(speech(4)))
    found = await parts(pipeline, request)
    whole = pipeline.whole(request, found)
    seconds = len(speech(4)) / SPEECH_RATE
    positions = [part.position for part in found]
    assert positions == sorted(positions)
    assert found[-1].position == whole.duration == pytest.approx(seconds, abs=0.01)
    assert found[-1].progress == 1.0
    assert [segment.id for segment in whole.segments] == list(range(len(whole.segments)))
    assert len(whole.segments) >= 4
    assert whole.text == " ".join(segment.text for segment in whole.segments)
    assert sum(part.usage.seconds for part in found) == pytest.approx(seconds, abs=0.01)
    for one, other in itertools.pairwise(whole.segments):
        assert one.start < one.end <= other.start


async def test_options_reach_the_segments(pipeline: RecordingPipeline) -> None:
    request = TranscribeRequest(audio=EXAMPLE, word_times=True, alternatives=2, language="de-AT")
    found = pipeline.whole(request, await parts(pipeline, request))
    first = found.segments[0]
    assert found.language == "de"
    assert first.words[0].start == first.start
    assert [one.text for one in first.alternatives] == ["other 1", "other 2"]


@pytest.mark.parametrize("style", ["spoken", "written"])
async def test_styles(pipeline: RecordingPipeline, style: str) -> None:
    request = TranscribeRequest(audio=EXAMPLE, style=style)
    for segment in pipeline.whole(request, await parts(pipeline, request)).segments:
        assert segment.text.endswith(".") == (style == "written")


async def test_silence_has_no_text_and_no_engine_run(pipeline: RecordingPipeline) -> None:
    request = TranscribeRequest(audio=flac(np.zeros(100 * SPEECH_RATE, np.float32)))
    lanes = Lanes(pipeline)
    async with aclosing(pipeline.converse(request, once(request), lanes)) as found:
        whole = pipeline.whole(request, [part async for part in found])
    assert (whole.text, whole.segments, whole.duration) == ("", (), 100.0)
    assert lanes.submitted == 0


async def test_a_long_recording_shares_lanes_within_bounds() -> None:
    pipeline = RecordingPipeline(model(0.01))
    lanes = Lanes(pipeline)
    request = TranscribeRequest(audio=flac(speech(20, gap=0.7)))
    async with aclosing(pipeline.converse(request, once(request), lanes)) as found:
        assert len([part async for part in found if part.segments]) == lanes.submitted
    assert 1 < lanes.most <= 24
    assert lanes.running == 0


async def test_memory_does_not_grow_with_a_recording(pipeline: RecordingPipeline) -> None:
    tracemalloc.start()
    try:
        request = TranscribeRequest(audio=flac(np.zeros(1800 * SPEECH_RATE, np.float32)))
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await parts(pipeline, request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 20_000_000  # as samples it is 115 MB


async def test_given_up_it_stops() -> None:
    pipeline = RecordingPipeline(model(0.2))
    lanes = Lanes(pipeline)
    request = TranscribeRequest(audio=flac(speech(10)))
    async with aclosing(pipeline.converse(request, once(request), lanes)) as found:
        async for part in found:
            if part.segments:
                break
    await asyncio.sleep(0.3)
    assert lanes.running == 0


@pytest.mark.parametrize(
    ("request_fields", "code", "param"),
    [
        ({"audio": b"RIFF\x24\0\0\0WAVEfmt "}, Code.INVALID_ARGUMENT, "audio"),
        ({"audio": b"some text, renamed .wav"}, Code.UNSUPPORTED_MEDIA, "audio"),
        ({"audio": EXAMPLE[:300]}, Code.INVALID_ARGUMENT, "audio"),
        ({"audio": EXAMPLE, "language": "fr"}, Code.UNSUPPORTED_MEDIA, "language"),
        ({"audio": EXAMPLE, "translate": True}, Code.INVALID_ARGUMENT, "translate"),
        ({"audio": EXAMPLE, "prompt": "Dear"}, Code.INVALID_ARGUMENT, "prompt"),
        ({"audio": EXAMPLE, "grammar": "#JSGF V1.0;"}, Code.INVALID_ARGUMENT, "grammar"),
        ({"audio": EXAMPLE, "keywords": ("hello",)}, Code.INVALID_ARGUMENT, "keywords"),
        ({"audio": EXAMPLE, "hot_words": ("hello",)}, Code.INVALID_ARGUMENT, "hot_words"),
        ({"audio": EXAMPLE, "temperature": 0.5}, Code.INVALID_ARGUMENT, "temperature"),
        (
            {"audio": np.full(1600, np.nan, "<f4").tobytes(), "format": "f32le", "sample_rate": 16000},
            Code.INVALID_ARGUMENT,
            "audio",
        ),
    ],
)
async def test_what_is_refused(
    pipeline: RecordingPipeline, request_fields: dict[str, object], code: Code, param: str
) -> None:
    with pytest.raises(ServingError) as caught:
        await parts(pipeline, TranscribeRequest.model_validate(request_fields))
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize("rate", [8_000, 96_000])
async def test_rates_and_channels(pipeline: RecordingPipeline, rate: int) -> None:
    six = np.repeat(
        np.interp(np.arange(0, len(SPEECH), SPEECH_RATE / rate), np.arange(len(SPEECH)), SPEECH)[:, None], 6, 1
    )
    request = TranscribeRequest(audio=flac(six.astype(np.float32), rate))
    found = pipeline.whole(request, await parts(pipeline, request))
    assert found.duration == pytest.approx(len(SPEECH) / SPEECH_RATE, abs=0.01)
    assert found.segments


async def test_raw_samples_at_a_wrong_rate_are_other_sound(pipeline: RecordingPipeline) -> None:
    raw = (SPEECH * 32767).astype("<i2").tobytes()
    request = TranscribeRequest(audio=raw, format="s16le", sample_rate=32_000)
    assert pipeline.whole(request, await parts(pipeline, request)).duration == pytest.approx(
        len(SPEECH) / 32_000, abs=0.01
    )
