"""OpenAI's shapes: bodies, subtitles, pages and events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Code, ServingError
from services.core.forms import Form
from services.tasks.asr import TRANSCRIBE, TRANSCRIBE_PARTS
from services.tasks.asr.openai import TRANSCRIPTIONS, TRANSLATIONS
from services.tasks.asr.openai.subtitles import cues_of, srt, vtt
from services.tasks.asr.schema import AudioUsage, Segment, TranscribePart, TranscribeResponse, Word

WORDS = tuple(
    Word(text=text, start=at, end=at + 0.4, probability=0.9) for at, text in enumerate(["Ask", "not", "what"])
)
SEGMENTS = (
    Segment(id=0, start=0.0, end=2.4, text="Ask not what", score=-0.1, words=WORDS, tokens=(1, 2)),
    Segment(id=1, start=3661.0015, end=3662.5, text="<you> & I --> go", score=-0.2),
)
ANSWER = TranscribeResponse(
    model="m@1",
    text="Ask not what <you> & I --> go",
    language="en",
    duration=3663.0,
    segments=SEGMENTS,
    usage=AudioUsage(seconds=3663.0),
)


def form(**fields: str | tuple[str, ...]) -> Form:
    return Form({name: value if isinstance(value, tuple) else (value,) for name, value in fields.items()}, b"123")


def whole(**fields: str | tuple[str, ...]) -> bytes:
    _, writer = TRANSCRIPTIONS.decode_form(form(**fields), "id")
    return writer.whole([ANSWER])


def test_json() -> None:
    assert json.loads(whole()) == {"text": ANSWER.text, "usage": {"type": "duration", "seconds": 3663.0}}


def test_verbose_json() -> None:
    page = json.loads(whole(response_format="verbose_json"))
    assert (page["task"], page["language"], page["duration"]) == ("transcribe", "en", 3663.0)
    assert page["segments"][0] == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 2.4,
        "text": "Ask not what",
        "tokens": [1, 2],
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    assert "words" not in page
    page = json.loads(whole(**{"response_format": "verbose_json", "timestamp_granularities[]": ("word",)}))
    assert page["words"][1] == {"word": "not", "start": 1.0, "end": 1.4}
    assert "segments" not in page


def test_subtitles() -> None:
    assert whole(response_format="text") == b"Ask not what\n<you> & I --> go\n"
    assert srt(ANSWER) == (
        "1\n00:00:00,000 --> 00:00:02,400\nAsk not what\n\n2\n01:01:01,002 --> 01:01:02,500\n<you> & I --> go\n\n"
    )
    assert vtt(ANSWER) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\nAsk not what\n\n"
        "01:01:01.002 --> 01:01:02.500\n&lt;you> &amp; I --&gt; go\n\n"
    )


@given(st.lists(st.text("abc", min_size=1, max_size=90), min_size=1, max_size=60), st.floats(0.05, 3))
def test_subtitles_of_words_are_short_and_leave_nothing_out(texts: list[str], pace: float) -> None:
    words = tuple(
        Word(text=text, start=at * pace, end=at * pace + pace / 2, probability=1.0) for at, text in enumerate(texts)
    )
    segment = SEGMENTS[0].model_copy(update={"words": words})
    cues = list(cues_of(ANSWER.model_copy(update={"segments": (segment,)})))
    assert " ".join(cue.text for cue in cues).split() == texts
    for cue in cues:
        assert cue.start <= cue.end
        assert " " not in cue.text or (len(cue.text) <= 81 and cue.end - cue.start <= 6.0)


def test_streamed_in_events() -> None:
    call, writer = TRANSCRIPTIONS.decode_form(form(stream="true"), "id")
    assert call.method is TRANSCRIBE_PARTS
    parts = [
        TranscribePart(model="m@1", segments=(segment,), position=1.0, usage=AudioUsage(seconds=1.0))
        for segment in SEGMENTS
    ]
    events = [json.loads(event) for part in parts for event in writer.part(part)]
    events += map(json.loads, writer.end())
    assert [event["type"].removeprefix("transcript.text.") for event in events] == [
        "delta",
        "segment",
        "delta",
        "segment",
        "done",
    ]
    deltas = "".join(event["delta"] for event in events if "delta" in event)
    assert deltas == events[-1]["text"] == ANSWER.text
    assert events[-1]["usage"]["seconds"] == 2.0


def test_translations_are_into_english() -> None:
    call, writer = TRANSLATIONS.decode_form(form(response_format="verbose_json"), "id")
    assert call.method is TRANSCRIBE
    assert call.requests[0].translate
    assert json.loads(writer.whole([ANSWER]))["task"] == "translate"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"language": "english"}, "language"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"timestamp_granularities[]": ("letter",)}, "timestamp_granularities"),
        ({"include[]": ("logprobs",)}, "include"),
        ({"known_speaker_names[]": ("Ann",)}, "known_speaker_names"),
        ({"chunking_strategy": "server_vad"}, "chunking_strategy"),
        ({"model": "Whisper 1"}, "model"),
        ({"prompt": "a" * 3000}, "prompt"),
        ({"nonsense": "1"}, "nonsense"),
    ],
)
def test_what_is_refused(fields: dict[str, str], param: str) -> None:
    with pytest.raises(ServingError) as caught:
        TRANSCRIPTIONS.decode_form(form(**fields), "id")
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert (caught.value.param or "").startswith(param)
