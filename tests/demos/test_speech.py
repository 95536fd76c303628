"""Speech on the pages: how a recording is shown, and the live streams of those who speak. Without a browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradio_demos.calls import Server as Pages
from gradio_demos.site import build_site, read_server
from gradio_demos.views import find_page, find_view
from gradio_demos.views.asr import live, talks
from gradio_demos.views.asr.talks import Talk, Talks
from services.clients import AsyncRestClient, Code, ServingError
from services.core.audio import SPEECH_RATE
from services.tasks.asr import StreamConfig, StreamTranscribeRequest
from tests.demos.test_fields import Reader
from tests.serving import Server
from tests.tasks.asr.recognizing import SPEECH
from tests.tasks.asr.serving import serve_asr

FIRST = StreamTranscribeRequest(
    config=StreamConfig(format="f32le", sample_rate=SPEECH_RATE, interim_results=True, endpoint_silence=0.2)
)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with serve_asr() as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncRestClient]:
    async with AsyncRestClient(str(server.rest.base_url)) as found:
        yield found


def answer(*texts: str, words: bool = False, **fields: Any) -> dict[str, Any]:
    segments = [
        {
            "id": number,
            "start": float(number),
            "end": number + 0.5,
            "text": text,
            "score": -0.5,
            "words": [{"text": text, "start": 0.0, "end": 0.5, "probability": 0.25}] if words else [],
            "alternatives": [{"text": text, "score": -1.0}],
        }
        for number, text in enumerate(texts)
    ]
    found = {"model": "m@1", "text": " ".join(texts), "language": "en", "duration": 9.0, "segments": segments}
    return {**found, **fields}


def shown(body: dict[str, Any]) -> str:
    show = find_view("asr")
    assert show
    return show({"audio": b"123"}, body)


@given(st.text() | st.sampled_from(["<script>", "</p><img src=x onerror=alert(1)>", "&lt;b&gt;", '"']), st.booleans())
def test_what_is_said_is_shown_as_text_whatever_it_is(text: str, words: bool) -> None:
    reader = Reader()
    reader.feed(shown(answer(text, words=words)))
    reader.close()
    allowed = {"section", "p", "mark", "div", "svg", "rect", "title", "span", "table", "tr", "th", "td", "ul", "li"}
    assert set(reader.tags) <= {*allowed, "small", "a"}
    assert "".join(reader.words).count(text) >= 4  # the text, its place in time, the table, the alternative


def test_the_picture_has_a_bar_for_each_segment_and_word() -> None:
    found = shown(answer("ask", "not", words=True))
    assert re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', found) == [
        ("0.000", "0.0", "0.500"),
        ("1.000", "0.0", "0.500"),
        ("0.000", "0.55", "0.500"),
        ("0.000", "0.55", "0.500"),
    ]
    assert '<svg viewBox="0 0 9.000 1"' in found
    assert 'aria-label="2 stretches of speech in 9.0 seconds"' in found
    assert '--weight:75%" title="0.00 – 0.50, 25%">ask</mark>' in found


def test_subtitles_are_in_the_page() -> None:
    links = re.findall(r'download="recording.(\w+)" href="data:text/plain;charset=utf-8,([^"]+)"', shown(answer("ask")))
    files = {name: unquote(content) for name, content in links}
    assert files["srt"] == "1\n00:00:00,000 --> 00:00:00,500\nask\n\n"
    assert files["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> ")


def test_silence_is_told_and_what_is_newer_may_be_there() -> None:
    assert "Nobody speaks in these 9.0 s." in shown(answer(novelty=1))
    with pytest.raises(ValueError, match="segments"):
        shown({"model": "m@1", "text": "", "language": "en", "duration": 1.0, "segments": "none"})


async def test_people_speak_and_read_along(client: AsyncRestClient) -> None:
    talk = Talk(client, FIRST)
    for start in range(0, len(SPEECH), 1600):
        await talk.say(SPEECH[start : start + 1600].tobytes())
        await talk.say(b"")
        await asyncio.sleep(0.01)
    await talk.end()
    news = talk.news()
    assert news.is_over
    assert news.error is None
    finals = [result for result in news.results if result.is_final]
    assert len(news.results) > len(finals) > 0
    assert news.results[-1] == finals[-1]
    assert talk.news().results == ()


async def test_who_leaves_is_not_waited_for(client: AsyncRestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "_AWAY", 0.1)
    monkeypatch.setattr(talks, "_KEPT", 0.2)
    some = Talks(client)
    identity = some.begin(FIRST)
    talk = some.find(identity)
    await asyncio.wait_for(talk.task, 5)
    await talk.say(b"too late")
    await asyncio.sleep(0.4)
    with pytest.raises(ServingError) as caught:
        some.find(identity)
    assert caught.value.code is Code.NOT_FOUND


async def test_only_so_many_speak_at_once(client: AsyncRestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "_MOST", 1)
    some = Talks(client)
    talk = some.find(some.begin(FIRST))
    with pytest.raises(ServingError) as caught:
        some.begin(FIRST)
    assert caught.value.code is Code.OVERLOADED
    await talk.end()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rate": 48_000, "model": "", "language": "!"}, "language"),
        ({"rate": 48_000, "model": "nobody", "language": ""}, "nobody"),
        ({"rate": 0, "model": "", "language": ""}, "sample_rate"),
    ],
)
async def test_what_is_wrong_is_told(client: AsyncRestClient, asked: dict[str, Any], said: str) -> None:
    begin, hear, end = live._functions(Talks(client))
    begun = await begin(asked)
    found = await end({"id": begun["id"]}) if "id" in begun else begun
    assert said in found["error"]
    assert "error" in await hear({"id": "unknown", "sound": ""})


async def test_the_site_has_the_page_and_a_widget_for_the_recording(server: Server) -> None:
    url = str(server.rest.base_url)
    tasks, models = await asyncio.to_thread(read_server, url)
    site = build_site(tasks, models, url, "h:1")
    labels = [block.label for block in site.blocks.values() if isinstance(block, gr.Tab)]
    assert labels == ["ASR", "Live", "Transcribe", "curl", "grpcurl", "Python"]
    (box,) = [block for block in site.blocks.values() if isinstance(block, gr.Audio)]
    assert box.value["path"].endswith(".ogg")
    codes = [block.value for block in site.blocks.values() if isinstance(block, gr.Code)]
    assert all(len(code) < 400 for code in codes)


async def test_a_server_that_takes_no_live_streams_has_no_page(server: Server, client: AsyncRestClient) -> None:
    (task,) = await client.tasks()
    add_page = find_page("asr")
    assert add_page
    with gr.Blocks() as site:
        add_page(Pages(client, "http://h", "h:1", None), task.model_copy(update={"methods": task.methods[:2]}), ())
    assert not site.children
