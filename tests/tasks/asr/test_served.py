"""The default model behind a real server: every protocol alike, recordings and live streams, good and bad."""

import asyncio
import io
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
import soundfile
import websockets
from openai import AsyncOpenAI

from services.clients import AsyncGrpcClient, AsyncRestClient, Code, ServingError
from services.core.audio import SPEECH_RATE, Samples
from services.core.context import CallContext
from services.core.settings import Settings
from services.runtime.loading import load_models
from services.runtime.meters import PrometheusMeter
from services.tasks.asr import STREAM_TRANSCRIBE, TASK, TRANSCRIBE, TRANSCRIBE_PARTS
from services.tasks.asr.schema import StreamTranscribeRequest, StreamTranscribeResponse, TranscribeRequest
from tests.serving import Server, free_grpc_port, free_port, running
from tests.tasks.asr.models import default_model
from tests.tasks.asr.recognizing import EXAMPLE, SPEECH, speech
from tests.tasks.asr.talking import config, messages, sent

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

SAID = "ask what you can do for your country"
REQUESTS = [
    TranscribeRequest(audio=EXAMPLE),
    TranscribeRequest(audio=EXAMPLE, language="en", word_times=True, style="spoken"),
    TranscribeRequest(
        audio=(SPEECH * 32767).astype("<i2").tobytes(), format="s16le", sample_rate=SPEECH_RATE, style="written"
    ),
]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    chosen = Settings(rest_port=free_port(), grpc_port=free_grpc_port(), drain_seconds=2, idle_seconds=2.0)
    loaded = load_models([TASK], default_model(), chosen, PrometheusMeter())
    async with running([TASK], loaded, chosen) as server:
        yield server


def clients(server: Server) -> tuple[AsyncRestClient, AsyncGrpcClient]:
    rest, grpc = server.settings.rest_port, server.settings.grpc_port
    return AsyncRestClient(f"http://127.0.0.1:{rest}"), AsyncGrpcClient(f"127.0.0.1:{grpc}")


def flac(samples: Samples, rate: int = SPEECH_RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


def wav(frames: Samples, rate: int = SPEECH_RATE, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, frames, rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("request_", REQUESTS, ids=["file", "words", "raw"])
async def test_every_protocol_gives_the_same(server: Server, request_: TranscribeRequest) -> None:
    rest, grpc = clients(server)
    async with rest, grpc:
        answers = [await client.call(TRANSCRIBE, request_) for client in (rest, grpc)]
        streams = [[part async for part in client.stream(TRANSCRIBE_PARTS, request_)] for client in (rest, grpc)]
    local = await server.service.infer(TASK, TRANSCRIBE, request_, CallContext("id", "local", float("inf")))
    body = await server.post(TRANSCRIBE.route, json.loads(request_.model_dump_json(exclude_unset=True)))
    assert answers[0] == answers[1] == local
    assert type(local).model_validate_json(body.content) == local
    assert tuple(segment for part in streams[0] for segment in part.segments) == answers[0].segments
    assert [part.segments for part in streams[0] if part.segments] == [
        part.segments for part in streams[1] if part.segments
    ]
    assert SAID in answers[0].text.lower().replace(".", "").replace(",", "")


async def test_openais_own_client(server: Server) -> None:
    url = f"http://127.0.0.1:{server.settings.rest_port}/v1"
    file = ("speech.ogg", EXAMPLE)
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        create = client.audio.transcriptions.create
        plain = await create(file=file, model="moonshine-tiny-en")
        verbose = await create(
            file=file,
            model="moonshine-tiny-en",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        subtitles = await create(file=file, model="moonshine-tiny-en", response_format="srt")
        events = [event async for event in await create(file=file, model="moonshine-tiny-en", stream=True)]
        with pytest.raises(Exception, match="translate"):
            await client.audio.translations.create(file=file, model="moonshine-tiny-en")
    assert SAID in plain.text.lower()
    assert verbose.duration == pytest.approx(3.4, abs=0.05)
    assert isinstance(verbose.duration, float)
    assert [word.word.lower().strip(".,") for word in verbose.words or ()] == SAID.split()
    assert verbose.segments
    assert str(subtitles).startswith("1\n00:00:0")
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == plain.text == "".join(event.delta for event in events if event.type.endswith("delta"))


async def heard(
    client: AsyncRestClient | AsyncGrpcClient, requests: AsyncGenerator[StreamTranscribeRequest]
) -> list[StreamTranscribeResponse]:
    async with aclosing(client.converse(STREAM_TRANSCRIBE, requests)) as answers:
        return [answer async for answer in answers]


def live(samples: Samples, pause: float = 0.0, **options: object) -> AsyncGenerator[StreamTranscribeRequest]:
    return sent([StreamTranscribeRequest(config=config(**options)), *messages(samples)], pause)


async def test_live_streams_give_what_the_recording_gives(server: Server) -> None:
    rest, grpc = clients(server)
    samples = speech(2)
    async with rest, grpc:
        whole = await rest.call(TRANSCRIBE, TranscribeRequest(audio=flac(samples)))
        streams = await asyncio.gather(*(heard(client, live(samples, interim_results=True)) for client in (rest, grpc)))
    for found in streams:
        finals = [answer.segment.text for answer in found if answer.is_final]
        assert finals == [segment.text for segment in whole.segments]


async def test_a_browser_would_hear_it_like_this(server: Server) -> None:
    url = f"ws://127.0.0.1:{server.settings.rest_port}{STREAM_TRANSCRIBE.route}"
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"config": {"format": "f32le", "sample_rate": SPEECH_RATE}}))
        await socket.send(SPEECH.tobytes())
        await socket.send(json.dumps({"end": True}))
        texts = [json.loads(message)["segment"]["text"] async for message in socket]
    assert SAID in " ".join(texts).lower().replace(".", "").replace(",", "")


async def test_four_streams_at_once_keep_up(server: Server) -> None:
    rest, grpc = clients(server)
    async with rest, grpc:
        started = time.monotonic()
        pace = 0.1 / 4  # four times as fast as people speak, four of them
        found = await asyncio.gather(*(heard(grpc, live(SPEECH, pace, interim_results=True)) for _ in range(4)))
        assert time.monotonic() - started < len(SPEECH) / SPEECH_RATE * 3
    assert len({" ".join(answer.segment.text for answer in own if answer.is_final) for own in found}) == 1


BAD: dict[str, tuple[dict[str, Any], Code, str]] = {
    "empty": ({"audio": b""}, Code.INVALID_ARGUMENT, "audio"),
    "header only": ({"audio": wav(np.zeros(0, np.float32))}, Code.INVALID_ARGUMENT, "audio"),
    "truncated": ({"audio": EXAMPLE[:1000]}, Code.INVALID_ARGUMENT, "audio"),
    "text renamed": ({"audio": b"This is no sound."}, Code.UNSUPPORTED_MEDIA, "audio"),
    "language": (
        {"audio": EXAMPLE, "language": "de", "model": "moonshine-tiny-en"},
        Code.UNSUPPORTED_MEDIA,
        "language",
    ),
    "model": ({"audio": EXAMPLE, "model": "whisper-1"}, Code.NOT_FOUND, "model"),
    "no rate": ({"audio": EXAMPLE, "format": "s16le"}, Code.INVALID_ARGUMENT, ""),
    "rate of a file": ({"audio": EXAMPLE, "sample_rate": 8000}, Code.INVALID_ARGUMENT, ""),
    "rate": ({"audio": b"1234", "format": "s16le", "sample_rate": 100}, Code.INVALID_ARGUMENT, "audio"),
    "channels": (
        {"audio": b"1234", "format": "s16le", "sample_rate": 8000, "channels": 99},
        Code.INVALID_ARGUMENT,
        "audio",
    ),
    "NaN": (
        {"audio": np.full(999, np.nan, np.float32).tobytes(), "format": "f32le", "sample_rate": 8000},
        Code.INVALID_ARGUMENT,
        "audio",
    ),
    "ability": ({"audio": EXAMPLE, "prompt": "x", "model": "moonshine-tiny-en"}, Code.INVALID_ARGUMENT, "prompt"),
}


@pytest.mark.parametrize("case", BAD)
async def test_the_same_error_on_both(server: Server, case: str) -> None:
    fields, code, param = BAD[case]
    request = TranscribeRequest.model_construct(**fields)
    rest, grpc = clients(server)
    async with rest, grpc:
        errors = []
        for client in (rest, grpc):
            with pytest.raises(ServingError) as caught:
                await client.call(TRANSCRIBE, request)
            errors.append((caught.value.code, caught.value.message, caught.value.param))
    assert errors[0] == errors[1]
    assert errors[0][0] == code
    assert (errors[0][2] or "").startswith(param)


SOUNDS = {
    "10 ms": np.full(160, 0.1),
    "silence": np.zeros(5 * SPEECH_RATE),
    "noise": np.random.default_rng(5).normal(0, 0.1, 5 * SPEECH_RATE),
}


@pytest.mark.parametrize("sound", SOUNDS)
async def test_where_nobody_speaks_there_is_no_text(server: Server, sound: str) -> None:
    rest, grpc = clients(server)
    async with rest, grpc:
        answer = await rest.call(TRANSCRIBE, TranscribeRequest(audio=flac(SOUNDS[sound].astype(np.float32))))
        assert (answer.text, answer.language) == ("", "")
        assert await heard(grpc, live(SOUNDS[sound].astype(np.float32))) == []


@pytest.mark.parametrize("change", ["clipped", "8 kHz", "96 kHz", "6 channels", "float"])
async def test_sound_of_any_kind(server: Server, change: str) -> None:
    rate = {"8 kHz": 8000, "96 kHz": 96_000}.get(change, SPEECH_RATE)
    sound = np.interp(np.arange(0, len(SPEECH), SPEECH_RATE / rate), np.arange(len(SPEECH)), SPEECH).astype(np.float32)
    sound = np.clip(8 * sound, -1, 1) if change == "clipped" else sound
    frames = np.repeat(sound[:, None], 6 if change == "6 channels" else 1, 1)
    rest, _ = clients(server)
    async with rest:
        file = wav(frames, rate, "FLOAT" if change == "float" else "PCM_16")
        answer = await rest.call(TRANSCRIBE, TranscribeRequest(audio=file))
    assert "can do for your country" in answer.text.lower()


async def test_a_bomb_is_bounded_by_decoded_seconds(server: Server) -> None:
    bomb = flac(np.zeros(5 * 3600 * 4000, np.float32), 4000)  # 5 hours in some hundred kB
    assert len(bomb) < 1_000_000
    rest, _ = clients(server)
    async with rest:
        with pytest.raises(ServingError) as caught:
            await rest.call(TRANSCRIBE, TranscribeRequest(audio=bomb), timeout=120)
    assert caught.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("client", [0, 1], ids=["websocket", "grpc"])
async def test_live_streams_that_go_wrong(server: Server, client: int) -> None:
    async def stalls() -> AsyncGenerator[StreamTranscribeRequest]:
        async for request in live(SPEECH[: 3 * SPEECH_RATE]):
            yield request
        await asyncio.sleep(30)

    own = clients(server)[client]
    async with own:
        with pytest.raises(ServingError) as caught:
            await heard(own, sent([StreamTranscribeRequest(audio=b"1234")]))
        assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "config")
        answers = []
        with pytest.raises(ServingError) as caught:
            async with aclosing(own.converse(STREAM_TRANSCRIBE, stalls())) as found:
                answers += [answer async for answer in found]
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        async with aclosing(own.converse(STREAM_TRANSCRIBE, live(speech(3), 0.01))) as found:
            await anext(found)  # and goes
        assert (await heard(own, live(SPEECH)))[-1].is_final  # others are served as before
    await asyncio.sleep(0.2)
    assert server.service.waiting == 0
