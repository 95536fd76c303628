"""Live streams: the results of a recording, as it is spoken."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.audio import SPEECH_RATE
from services.core.errors import Code, ServingError
from services.tasks.asr import example
from services.tasks.asr.live import LivePipeline
from services.tasks.asr.recording import RecordingPipeline
from services.tasks.asr.schema import StreamTranscribeRequest, StreamTranscribeResponse, TranscribeRequest
from tests.tasks.asr.recognizing import SPEECH, model, speech
from tests.tasks.asr.talking import Lanes, config, live, messages, parts, sent

LONG = speech(3)


@pytest.fixture
def pipeline() -> LivePipeline:
    return LivePipeline(model())


async def offline() -> list[str]:
    recordings = RecordingPipeline(model())
    request = TranscribeRequest(audio=LONG.tobytes(), format="f32le", sample_rate=SPEECH_RATE)
    return [segment.text for segment in recordings.whole(request, await parts(recordings, request)).segments]


@settings(max_examples=10, deadline=None)
@given(size=st.integers(300, 60_000), interim=st.booleans())
def test_finals_are_those_of_the_recording(size: int, interim: bool) -> None:
    async def both() -> tuple[list[StreamTranscribeResponse], list[str]]:
        return await live(LivePipeline(model()), messages(LONG, size), interim_results=interim), await offline()

    found, expected = asyncio.run(both())
    finals = [answer for answer in found if answer.is_final]
    assert [answer.segment.text for answer in finals] == expected
    assert [answer.segment.id for answer in finals] == list(range(len(finals)))
    assert sum(answer.usage.seconds for answer in finals) <= len(LONG) / SPEECH_RATE


async def test_interim_results_come_before_their_final_one(pipeline: LivePipeline) -> None:
    found = await live(pipeline, messages(speech(1)), pause=0.01, interim_results=True)
    finals = [index for index, answer in enumerate(found) if answer.is_final]
    assert finals[0] > 0
    for answer in found:
        assert 0 <= answer.stability <= 1
        assert answer.is_final == (answer.stability == 1.0) or not answer.is_final
        assert not answer.segment.words or answer.is_final
    segments = [answer.segment.id for answer in found]
    assert segments == sorted(segments)


async def test_without_interim_results_there_are_none(pipeline: LivePipeline) -> None:
    assert all(answer.is_final for answer in await live(pipeline, messages(LONG), pause=0.001))


async def test_words_are_in_the_final_results(pipeline: LivePipeline) -> None:
    for answer in await live(pipeline, messages(LONG), word_times=True):
        assert answer.segment.words[0].start == answer.segment.start


async def test_the_live_example_ends_with_an_answer(pipeline: LivePipeline) -> None:
    timed = list(example.live())
    assert [due for due, _ in timed] == sorted(due for due, _ in timed)
    assert timed[-1].due == len(SPEECH) / SPEECH_RATE
    (_, first), *others = timed
    left = len(others)

    async def requests() -> AsyncGenerator[StreamTranscribeRequest]:
        nonlocal left
        for _, request in others:
            left -= 1
            yield request

    async with aclosing(pipeline.converse(first, requests(), Lanes(pipeline))) as answers:
        found = [(answer, left) async for answer in answers]
    assert found[-1][0].is_final
    assert found[-1][1] == 0


async def test_a_slow_recogniser_makes_fewer_interim_results_and_loses_nothing() -> None:
    slow = LivePipeline(model(0.05))
    found = await live(slow, messages(LONG), pause=0.005, interim_results=True)
    assert [answer.segment.text for answer in found if answer.is_final] == await offline()


async def test_a_flood_is_taken_no_faster_than_it_is_written_down() -> None:
    pulled = 0

    async def flood() -> AsyncGenerator[StreamTranscribeRequest]:
        nonlocal pulled
        for message in messages(speech(30, gap=0.6), 8000):
            pulled += 1
            yield message

    slow = LivePipeline(model(0.1))
    async with aclosing(slow.converse(StreamTranscribeRequest(config=config()), flood(), Lanes(slow))) as found:
        await anext(found)
        assert pulled < 60  # of about 330
    assert slow.model.threads


@pytest.mark.parametrize(
    ("first", "rest", "param"),
    [
        (StreamTranscribeRequest(audio=b"12"), [], "config"),
        (StreamTranscribeRequest(), [], "config"),
        (StreamTranscribeRequest(config=config()), [StreamTranscribeRequest(config=config())], "config"),
        (StreamTranscribeRequest(config=config(language="fr")), [], "language"),
        (StreamTranscribeRequest(config=config(grammar="#JSGF")), [], "grammar"),
        (StreamTranscribeRequest(config=config(sample_rate=100)), [], "audio"),
        (StreamTranscribeRequest(config=config(channels=9)), [], "audio"),
    ],
)
async def test_what_is_refused(
    pipeline: LivePipeline, first: StreamTranscribeRequest, rest: list[StreamTranscribeRequest], param: str
) -> None:
    with pytest.raises(ServingError) as caught:
        async with aclosing(pipeline.converse(first, sent(rest), Lanes(pipeline))) as found:
            _ = [answer async for answer in found]
    assert caught.value.param == param


async def test_what_was_said_before_an_error_is_written_down(pipeline: LivePipeline) -> None:
    bad = StreamTranscribeRequest(audio=np.full(100, np.nan, np.float32).tobytes())
    first = StreamTranscribeRequest(config=config())
    async with aclosing(pipeline.converse(first, sent([*messages(SPEECH), bad]), Lanes(pipeline))) as found:
        assert (await anext(found)).is_final
        with pytest.raises(ServingError) as caught:
            await anext(found)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros(160), np.zeros(30 * SPEECH_RATE)])
async def test_nothing_said(pipeline: LivePipeline, sound: np.ndarray) -> None:
    assert await live(pipeline, messages(sound.astype(np.float32)), interim_results=True) == []


async def test_given_up_half_way_it_stops() -> None:
    slow = LivePipeline(model(0.1))
    lanes = Lanes(slow)
    first = StreamTranscribeRequest(config=config(interim_results=True))
    async with aclosing(slow.converse(first, sent(messages(LONG), 0.01), lanes)) as found:
        await anext(found)
    before = len(asyncio.all_tasks())
    await asyncio.sleep(0.2)
    assert lanes.running == 0
    assert len(asyncio.all_tasks()) <= before
