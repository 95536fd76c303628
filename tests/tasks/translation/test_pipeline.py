"""The pipeline with a translator whose every step is known: what goes in, what comes out, and what goes wrong."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.core.engine import Decoding
from services.core.errors import Code, ServingError, invalid
from services.tasks.translation.repetition import is_loop, repeats
from services.tasks.translation.schema import TranslateRequest, TranslateResponse
from tests.tasks.translation.fakes import HOLDERS, SPEC, Capitals, pipeline


def ask(
    text: Any, engine: Capitals | None = None, holders: tuple[str, ...] = HOLDERS, **fields: Any
) -> TranslateResponse:
    request = request_of(text, **fields)
    serving = pipeline(engine or Capitals(), holders)
    items = serving.prepare(request)
    return serving.finish(request, items, serving.run([item.payload for item in items]))


def request_of(text: Any, **fields: Any) -> TranslateRequest:
    body = {"text": text, "source": "en", "target": "de", **fields}
    return TranslateRequest.model_validate_json(json.dumps(body))


def one(text: str, *args: Any, **fields: Any) -> str:
    return ask(text, *args, **fields).results[0].translation


def error(call: Callable[[], Any]) -> ServingError:
    with pytest.raises((ServingError, ValidationError)) as caught:
        call()
    found = caught.value
    return invalid(found) if isinstance(found, ValidationError) else found  # type: ignore[return-value]


def test_formatting_stays() -> None:
    text = "# Title\n\n- first item, is it?\n  * second\r\n1. third\n\n\tindented.  Two sentences! \n\n---\n"
    assert one(text) == text.upper()


def test_html_stays() -> None:
    html = '<p class="big">Hello <b>dear</b> friend &amp; all.</p><!-- no --><script>var a = "b";</script><br/>Bye'
    said = '<p class="big">HELLO <b>DEAR</b> FRIEND &amp; ALL.</p><!-- no --><script>var a = "b";</script><br/>BYE'
    assert one(html, format="html") == said


@pytest.mark.parametrize("holders", [HOLDERS, ()], ids=["holders", "no holders"])
def test_what_is_kept(holders: tuple[str, ...]) -> None:
    said = one(
        "Dear {name}, %s owes 1,234.50 to Acme Corp since 2024-05-01, see https://a.example/x?y=1 for the cloud.",
        holders=holders,
        preserve=["Acme Corp"],
        glossary={"cloud": "Wolke"},
    )
    kept = "DEAR {name}, %s OWES 1,234.50 TO Acme Corp SINCE 2024-05-01, SEE https://a.example/x?y=1 FOR THE Wolke."
    assert said == kept


def test_texts_keep_their_order_and_their_sentences() -> None:
    answer = ask(["One. Two.", "Three.", "!!!", "Four? Five! Six."])
    assert [result.translation for result in answer.results] == ["ONE. TWO.", "THREE.", "!!!", "FOUR? FIVE! SIX."]
    assert answer.model == "letters@1"
    assert answer.usage.tokens > 0


def test_nothing_to_translate_needs_no_model() -> None:
    engine = Capitals()
    texts = ["...", "12.50 %", "\U0001f600 \U0001f600", "-", "{name}"]
    answer = ask([*texts, "\x00\x01"], engine)
    assert [result.translation for result in answer.results][:5] == texts
    assert (engine.runs, answer.usage.tokens) == ([], 0)
    assert [result.score for result in answer.results] == [1.0] * 6


def test_the_source_is_found_for_each_text() -> None:
    texts = ["Where is the railway station?", "Wo ist denn hier der Bahnhof?", "Où est la gare, s'il vous plaît ?"]
    answer = ask(texts, source="auto", target="en")
    assert [(result.source, result.target) for result in answer.results] == [("en", "en"), ("de", "en"), ("fr", "en")]
    assert answer.results[0].translation == texts[0]  # in the target language already
    assert answer.results[1].translation == texts[1].upper()


def test_html_is_no_english() -> None:
    html = '<div class="navigation-button"><a href="/index.html">Wo ist denn hier der Bahnhof?</a></div>'
    assert ask(html, source="auto", target="en", format="html").results[0].source == "de"


ITALIAN = "Ciao, come stai? Oggi il tempo è molto bello qui."


@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ({"target": "it"}, "target", "it translates: en-de, de-en"),
        ({"source": "es"}, "source", "does not translate 'es' to 'de'"),
        ({"target": "en"}, "target", "both 'en'"),
        ({"source": "auto", "text": ITALIAN}, "text[0]", "seems to be in 'it'"),
        ({"target": ""}, "target", "language code"),
        ({"target": "english please"}, "target", "language code"),
        ({"target": None}, "target", ""),
        ({"glossary": "animals"}, "glossary", "an object with the terms"),
        ({"glossary": {"cat": 3}}, "glossary.cat", "string"),
        ({"glossary": {" ": "x"}}, "glossary. .[key]", "term"),
        ({"glossary": ["cat"]}, "glossary", "an object with the terms"),
        ({"preserve": "cat"}, "preserve", ""),
        ({"preserve": [""]}, "preserve[0]", "term"),
        ({"preserve": ["a"] * 1001}, "preserve", "at most 1000 terms"),
        ({"format": "markdown"}, "format", "'text' or 'html'"),
        ({"beam_size": 0}, "beam_size", ""),
        ({"beam_size": 99}, "beam_size", ""),
        ({"beam_size": 1, "alternatives": 2}, None, "beam_size"),
        ({"alternatives": -1}, "alternatives", ""),
        ({"max_tokens": 0}, "max_tokens", ""),
        ({"text": ""}, "text[0]", "empty"),
        ({"text": [" \n\t"]}, "text[0]", "white space"),
        ({"text": []}, "text", "at least one"),
        ({"truncate": True}, "truncate", "not a field"),
    ],
)
def test_bad_input(fields: dict[str, Any], param: str | None, part: str) -> None:
    found = error(lambda: ask(**{"text": "Hello.", **fields}))
    assert (found.code, found.param) == (Code.INVALID_ARGUMENT, param)
    assert part in found.message


@pytest.mark.parametrize(("given", "meant"), [("de-AT", "de"), ("DE", "de"), ("de_DE", "de")])
def test_languages_have_regions(given: str, meant: str) -> None:
    assert ask("Hello.", target=given).results[0].target == meant


def test_a_wrong_source_is_believed() -> None:
    assert ask("Wo ist der Bahnhof?", source="en").results[0].source == "en"


def test_mixed_languages_do_no_harm() -> None:
    assert one("Hello there. Guten Tag. Bonjour à tous.") == "HELLO THERE. GUTEN TAG. BONJOUR À TOUS."


@pytest.mark.parametrize("text", ["word, " * 900, "x" * 5000, "A\u0308" * 2500, "a 1 {b} " * 700])
def test_a_sentence_of_5000_characters_is_cut(text: str) -> None:
    engine = Capitals()
    said = one(text, engine)
    assert said.upper().replace(" ", "") == text.upper().replace(" ", "")
    assert max(len(item.source) for run, _ in engine.runs for item in run) <= SPEC.max_tokens


def test_a_document_of_50000_characters() -> None:
    text = "".join(f"This is sentence number {n} of the document. " for n in range(1200))[:50_000]
    request = request_of(text)
    items = pipeline(Capitals()).prepare(request)
    assert len(items) > 1000
    assert one(text) == text.upper()


class Loops(Capitals):
    def say(self, text: str, decoding: Decoding) -> str:
        return "na" * 200 if not decoding.no_repeat_ngram else "fine"


def test_a_loop_is_stopped_and_told() -> None:
    engine = Loops()
    result = ask("Hello there.", engine).results[0]
    assert (result.translation, result.flags) == ("fine", ("repetition",))
    assert engine.runs[-1][1].no_repeat_ngram


def test_a_text_that_repeats_may() -> None:
    text = "ha ha ha ha ha ha ha ha ha"
    result = ask(text).results[0]
    assert (result.translation, result.flags) == (text.upper(), ())


class Talks(Capitals):
    def say(self, text: str, decoding: Decoding) -> str:
        return "".join(chr(97 + n % 23 + n // 23 % 3) for n in range(2000))


def test_a_translation_is_no_longer_than_its_sentence_gives_reason_for() -> None:
    result = ask("Hello there.", Talks()).results[0]
    assert result.flags == ("length",)
    assert len(result.translation) <= 3 * len("Hello there.") + 20
    short = ask("Hello there.", max_tokens=3).results[0]
    assert (short.translation, short.flags) == ("HEL", ("length",))


class Forgets(Capitals):
    def say(self, text: str, decoding: Decoding) -> str:
        return "".join(char for char in text.upper() if (char.isalpha() and ord(char) < 0xE000) or char in " .,")


def test_what_a_model_forgets_is_kept_all_the_same() -> None:
    result = ask("Dear {name}, you owe 50 euros.", Forgets()).results[0]
    assert result.flags == ("pieces",)
    assert result.translation == "DEAR {name}, YOU OWE 50 EUROS."


def test_alternatives_are_of_the_whole_text() -> None:
    result = ask("One. Two.", alternatives=2).results[0]
    assert [other.translation for other in result.alternatives] == ["ONE.~ TWO.~", "ONE.~~ TWO.~~"]
    scores = [result.score, *(other.score for other in result.alternatives)]
    assert scores == sorted(scores, reverse=True)


def test_alignment_names_tokens_of_both_sides() -> None:
    result = ask("I owe 50 now. You, too.", alignment=True).results[0]
    first, second = result.alignment
    assert "".join(first.source).startswith("I owe 50 now.")
    assert "".join(row.token for row in second.target) == "YOU, TOO."
    assert all(
        len(row.weights) == len(first.source) and np.isclose(sum(row.weights), 1, atol=0.01) for row in first.target
    )


def test_requests_with_different_wishes_share_a_batch() -> None:
    engine = Capitals()
    serving = pipeline(engine)
    requests = [
        request_of("One."),
        request_of("Two.", beam_size=4),
        request_of("Three.", alternatives=1),
        request_of("!"),
    ]
    items = [serving.prepare(request) for request in requests]
    outputs = [[output] for output in serving.run([own[0].payload for own in items])]
    answers = [serving.finish(*three) for three in zip(requests, items, outputs, strict=True)]
    assert [answer.results[0].translation for answer in answers] == ["ONE.", "TWO.", "THREE.", "!"]
    assert [(run.beam_size, run.hypotheses) for _, run in engine.runs] == [(2, 1), (4, 1), (2, 2)]


FRAGMENTS = [
    "Hello world. ",
    "{name}",
    "%s",
    "https://a.example/b ",
    " 1,000.5 ",
    "\n",
    "\n- ",
    "<b>",
    "</b>",
    "<p>",
    "&amp;",
]
documents = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(FRAGMENTS)), min_size=1, max_size=30)


@settings(max_examples=150)
@given(
    documents.map("".join).filter(lambda text: text.strip() and text.encode(errors="ignore").decode() == text),
    st.sampled_from([Capitals, Forgets, Loops, Talks]),
    st.sampled_from(["text", "html"]),
    st.booleans(),
)
def test_parts_are_the_whole(text: str, kind: type[Capitals], markup: str, holders: bool) -> None:
    request = request_of(text, format=markup)
    serving = pipeline(kind(), HOLDERS if holders else ())
    items = serving.prepare(request)
    outputs = serving.run([item.payload for item in items])
    parts = [serving.part(request, items, n, output) for n, output in enumerate(outputs)]
    whole = serving.finish(request, items, outputs)
    said = whole.results[0].translation
    assert "".join(part.result.translation for part in parts) == said
    assert sum(part.usage.tokens for part in parts) == whole.usage.tokens
    if markup == "text" and kind is not Loops:
        assert said.count("\n") == text.count("\n")
    if markup == "html":
        assert said.count("<p>") == text.count("<p>")


@given(st.lists(st.integers(0, 2), max_size=40))
def test_repeats_counts_what_it_says(tokens: list[int]) -> None:
    found = repeats(tokens)
    for length in range(1, 13):
        for start in range(len(tokens) - length * (found + 1) + 1):
            stretch = tokens[start : start + length]
            assert tokens[start : start + length * (found + 1)] != stretch * (found + 1)
    assert is_loop([7] * 10, tokens) or found >= 9


def test_a_million_terms_are_refused_without_reading_them() -> None:
    for field, value in (("preserve", [""] * 500_000), ("glossary", {str(n): "" for n in range(200_000)})):
        body = json.dumps({"text": "Hi.", "target": "de", field: value})
        started = time.monotonic()
        with pytest.raises(ValidationError) as caught:
            TranslateRequest.model_validate_json(body)
        assert time.monotonic() - started < 2
        assert caught.value.error_count() == 1


@pytest.mark.parametrize("holders", [HOLDERS, ()], ids=["holders", "no holders"])
@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0301" * 3000,
        "see https://a.example/" + "x" * 20_000 + " now",
        "x" + "\u200d{a}" * 200,
        "\u0e01" * 3000,
        "'" * 3000 + "a",
    ],
    ids=["accents", "url", "joiners", "no spaces", "marks"],
)
def test_no_model_is_given_more_than_it_takes(text: str, holders: tuple[str, ...]) -> None:
    engine = Capitals()
    said = one(text, engine, holders)
    assert max((len(item.source) for run, _ in engine.runs for item in run), default=0) <= SPEC.max_tokens
    for kept in ("{a}", "https://a.example/" + "x" * 20_000):
        assert said.count(kept) == text.count(kept)


def test_an_image_in_html_is_shown_to_no_model() -> None:
    engine = Capitals()
    image = '<img src="data:image/png;base64,' + "QUJD" * 20_000 + '">'
    assert one(f"<p>Look {image} here.</p>", engine, (), format="html") == f"<p>LOOK {image} HERE.</p>"
    assert max(len(item.source) for run, _ in engine.runs for item in run) <= SPEC.max_tokens


def test_alignment_is_for_short_texts() -> None:
    assert error(lambda: ask("word " * 1001, alignment=True)).message.startswith("alignment")


def test_entities_of_any_length() -> None:
    html = "Wo ist denn hier der Bahnhof? &#" + "9" * 5000 + "; &#xD800;"
    assert ask(html, source="auto", target="en", format="html").results[0].source == "de"


class Silent(Capitals):
    def say(self, text: str, decoding: Decoding) -> str:
        return ""


def test_nothing_said_is_told() -> None:
    result = ask("Hello there.", Silent()).results[0]
    assert (result.translation, result.flags) == ("", ("empty",))
    assert result.score < 1


def test_a_limit_holds_in_pieces_too() -> None:
    result = ask("hello there {name} my dear friend", Forgets(), max_tokens=3).results[0]
    assert (result.translation, result.flags) == ("HEL {name} MY", ("length", "pieces"))


def test_each_sentence_has_its_alignment() -> None:
    result = ask("You owe {name} much. Good bye.", Forgets(), alignment=True).results[0]
    assert [bool(alignment.source) for alignment in result.alignment] == [False, True]


def test_empty_is_absent_as_in_protobuf() -> None:
    request = request_of("Hello.", source="", format="")
    assert (request.source, request.format) == ("auto", "text")
