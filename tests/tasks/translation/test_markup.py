"""HTML: tags come out as they went in, text is translated, and nothing is too malformed."""

import re
import time

import pytest
from hypothesis import given

from services.tasks.translation.text import Keep, Kept, Literal, Sentence, readable, split
from tests.tasks.translation.hostile import documents, slow


def parts(text: str) -> list[str]:
    """Sources; sentences in curly brackets."""
    found = split(text, "en", markup=True, keep=Keep())
    return [f"{{{part.source}}}" if isinstance(part, Sentence) else part.source for part in found]


def seen(text: str) -> list[str]:
    found = split(text, "en", markup=True, keep=Keep())
    return ["".join(piece.text for piece in part.pieces) for part in found if isinstance(part, Sentence)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Hello. World!</p>", ["<p>", "{Hello.}", " ", "{World!}", "</p>"]),
        ("<ul>\n <li>One<li>Two</ul>", ["<ul>\n <li>", "{One}", "<li>", "{Two}", "</ul>"]),
        ("One<br>two<br/>", ["{One}", "<br>", "{two}", "<br/>"]),
        ("<p>A <b>big</b> dog</p>", ["<p>", "{A <b>big</b> dog}", "</p>"]),
        ("<p><b>All bold.</b></p>", ["<p><b>", "{All bold.}", "</b></p>"]),
        ("<b>One.</b> <i>Two.</i>", ["<b>", "{One.}", "</b> <i>", "{Two.}", "</i>"]),
        ("<b>One. Two</b>", ["<b>", "{One.}", " ", "{Two}", "</b>"]),
        ("<i>Very</i> <b>good</b>", ["{<i>Very</i> <b>good</b>}"]),
        ("<a href='x'><img src=y> See</a>", ["<a href='x'><img src=y> ", "{See}", "</a>"]),
        ("<!-- note --><p>Hi</p><!-- end", ["<!-- note --><p>", "{Hi}", "</p><!-- end"]),
        ("Hi <!-- a <b> --> you", ["{Hi <!-- a <b> --> you}"]),
        ("<!DOCTYPE html><title>Hi</title>", ["<!DOCTYPE html><title>", "{Hi}", "</title>"]),
        ("<script>if (a<b) say('Hi')</script>Yes", ["<script>if (a<b) say('Hi')</script>", "{Yes}"]),
        ("<style>p {color: red}</STYLE>Yes", ["<style>p {color: red}</STYLE>", "{Yes}"]),
        ("<pre>def <b>f</b></pre>Yes", ["<pre>def <b>f</b></pre>", "{Yes}"]),
        ("<textarea><p>Raw</textarea>", ["<textarea><p>Raw</textarea>"]),
        ("Run <code>rm <i>x</i></code> now", ["{Run <code>rm <i>x</i></code> now}"]),
        ("<code>all of it</code>", ["<code>all of it</code>"]),
        (
            "<div translate=no>No <div>nor</div> this</div>Yes",
            ["<div translate=no>No <div>nor</div> this</div>", "{Yes}"],
        ),
        ("Call <span class='x notranslate'>Me</span> up", ["{Call <span class='x notranslate'>Me</span> up}"]),
        ("<p class=notranslate-not>Yes</p>", ["<p class=notranslate-not>", "{Yes}", "</p>"]),
        ("<p class='not notranslate-not'>Yes</p>", ["<p class='not notranslate-not'>", "{Yes}", "</p>"]),
        ('<p title=" translate=no">Yes</p>', ['<p title=" translate=no">', "{Yes}", "</p>"]),
        ("<p title=' class=notranslate '>Yes</p>", ["<p title=' class=notranslate '>", "{Yes}", "</p>"]),
        ("<p data-translate=no>Yes</p>", ["<p data-translate=no>", "{Yes}", "</p>"]),
        ("<p translate=now>Yes</p>", ["<p translate=now>", "{Yes}", "</p>"]),
        ('<p id="a"TRANSLATE = "No">No</p>Yes', ['<p id="a"TRANSLATE = "No">No</p>', "{Yes}"]),
        ("<p hidden class='a\nNoTranslate b'>No</p>Yes", ["<p hidden class='a\nNoTranslate b'>No</p>", "{Yes}"]),
        ("<script>never closed", ["<script>", "{never closed}"]),
        ("<style></style>Yes", ["<style></style>", "{Yes}"]),
        ("<script>'</scripts>'</script\n>Yes", ["<script>'</scripts>'</script\n>", "{Yes}"]),
        ("a < b & c > d", ["{a < b & c > d}"]),
        ("I <3 you", ["{I <3 you}"]),
        ("Press <0>here</0> now", ["{Press <0>here</0> now}"]),
        ('<a title="x > y">Link</a> now', ['{<a title="x > y">Link</a> now}']),
        ("<p title='open>Text", ["<p title='open>", "{Text}"]),
        ("<code>never closed", ["<code>", "{never closed}"]),
        ("</b>One <i>two</b> three</i>", ["</b>", "{One <i>two</b> three</i>}"]),
        ("<my-box>One</my-box> two", ["<my-box>", "{One}", "</my-box> ", "{two}"]),
    ],
)
def test_text_and_tags(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


def test_models_see_decoded_text_and_single_spaces() -> None:
    assert seen("<p>Tom &amp; Ann&#39;s\n   &lt;b&gt;</p>") == ["Tom & Ann's <b>"]
    assert seen("One&nbsp;two &bogus; &copy 3 &#128512; A&T") == ["One\xa0two &bogus; © 3 😀 A&T"]
    assert seen("Nul&#0;l &#x7; and &#xE000; hidden &#55296;.") == ["Nul\ufffdl  and \ue000 hidden \ufffd."]


def test_a_number_of_thousands_of_digits_is_no_entity() -> None:
    (text,) = seen("Say &#" + "9" * 9000 + "; twice")
    assert text.startswith("Say ")


def test_what_is_kept_is_kept_raw() -> None:
    found = split("At A&amp;T and the cat", "en", markup=True, keep=Keep(("A&T",), {"cat": "R&D"}))
    (sentence,) = found
    assert isinstance(sentence, Sentence)
    assert sentence.kept == (Kept("A&amp;T", "A&amp;T", "A&T"), Kept("cat", "R&amp;D", "R&D"))


@given(documents)
def test_a_tag_is_literal_or_kept_never_words(text: str) -> None:
    words = [
        piece.source
        for part in split(text, "en", markup=True, keep=Keep())
        if isinstance(part, Sentence)
        for piece in part.pieces
        if not isinstance(piece, Kept)
    ]
    assert not any(re.search(r"</?(b|i|p|br|img|code|span)( [^<>\"']*)?>", source) for source in words)


def test_without_tags_html_is_text_that_is_escaped() -> None:
    assert split("", "en", markup=True, keep=Keep()) == ()
    assert split("&nbsp;\n", "en", markup=True, keep=Keep()) == (Literal("&nbsp;\n"),)


@pytest.mark.parametrize("seed", ["<script>", "<STYLE>", "<textarea></textareas>", "<p><script ><style>"])
def test_raw_elements_that_never_end_are_not_searched_for_again_and_again(seed: str) -> None:
    start = time.perf_counter()
    parts(seed * (400_000 // len(seed)))
    assert time.perf_counter() - start < 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("<p title='No'>Yes,\n <b>W</b>ort</p>\n<p>Two</p>", "Yes, Wort Two"),
        ("<!-- No --><style>no {}</style><script>no()</script>Yes<!-- no", "Yes"),
        ("One<br>two<li>three", "One two three"),
        ("Caf&eacute; &lt;b&gt; &#72;&#x69;&nbsp;&bogus; A&T", "Café <b> Hi &bogus; A&T"),
        ("a < b &#55296; &#xD800; &#1114112; &#" + "9" * 5000, "a < b \ufffd \ufffd \ufffd"),
    ],
)
def test_what_a_reader_sees(text: str, expected: str) -> None:
    assert readable(text).startswith(expected)
    assert expected or not readable(text)


@given(documents)
def test_whatever_is_given_something_is_readable(text: str) -> None:
    seen = readable(text, 10)
    assert len(seen.replace(" ", "")) <= 10
    assert seen == readable(text).replace("\xa0", " ")[: len(seen)]
    assert not re.search("[\ud800-\udfff]", seen) or re.search("[\ud800-\udfff]", text)


def test_no_more_is_read_than_is_asked_for() -> None:
    page = "<p>Hello <b>there</b> &amp; you. " * 200_000
    start = time.perf_counter()
    assert len(readable(page, 2000)) >= 2000
    assert time.perf_counter() - start < 0.5
    assert not slow(lambda text, _: readable(text))
