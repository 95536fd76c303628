"""Documents cut into parts: nothing is lost, layout is literal, sentences are whole."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.translation.text import Keep, Literal, Sentence, split
from tests.tasks.translation.hostile import documents, slow

KEEP = Keep(preserve=("C++", "New York"), glossary={"server": "Server", "Yes": ""})
LANGUAGES = st.sampled_from(["en", "de", "fr", "es", "zh", "pt-BR", "", "tlh", "EN_us"])


def sentences(text: str, language: str = "en", *, markup: bool = False) -> list[str]:
    return [part.source for part in split(text, language, markup=markup, keep=Keep()) if isinstance(part, Sentence)]


@given(documents, LANGUAGES, st.booleans())
def test_the_sources_of_all_parts_are_the_document(text: str, language: str, markup: bool) -> None:
    parts = split(text, language, markup=markup, keep=KEEP)
    assert "".join(part.source for part in parts) == text
    for before, part in pairwise(parts):
        assert isinstance(before, Sentence) or isinstance(part, Sentence)
    assert all(part.source for part in parts)


@given(documents, st.booleans())
def test_models_see_no_control_characters_and_no_line_breaks(text: str, markup: bool) -> None:
    for part in split(text, "en", markup=markup, keep=Keep()):
        if isinstance(part, Sentence):
            seen = "".join(piece.text for piece in part.pieces)
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in seen if not part.markup)
            assert not set(seen) & set("\n\r\u2028") or part.markup


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "!!!", "---", "😀 🎉", "123 - 456", "- \n* \n1. ", "\x00\x01", "| | |", "…"]
)
def test_without_a_letter_all_is_literal(text: str) -> None:
    assert split(text, "en", markup=False, keep=Keep()) == ((Literal(text),) if text else ())


def test_sentences_of_a_line_are_translated_one_by_one() -> None:
    assert sentences("Mr. Smith came at 3.30 p.m. He left.  Why? “No.”") == [
        "Mr. Smith came at 3.30 p.m.",
        "He left.",
        "Why?",
        "“No.”",
    ]
    assert sentences("Das ist z. B. gut. Er kam am 3. Mai.", "de") == ["Das ist z. B. gut.", "Er kam am 3. Mai."]
    assert sentences("你好。再见！", "zh") == ["你好。", "再见！"]


@pytest.mark.parametrize(
    "opening",
    [
        "  ",
        "\t",
        "- ",
        "* ",
        "• ",
        "  - ",
        "1. ",
        "12) ",
        "a) ",
        "(b) ",
        "# ",
        "### ",
        "> ",
        ">> ",
        "> - ",
        "- [ ] ",
        "- [x] ",
        "| ",
    ],
)
def test_what_opens_a_line_is_literal(opening: str) -> None:
    parts = split(f"{opening}Hello world", "en", markup=False, keep=Keep())
    assert [part.source for part in parts] == [opening, "Hello world"]


@pytest.mark.parametrize(
    "line", ["-5 degrees", "3.5 litres", "#hashtag first", "A. Smith spoke", "No. 5 is alive", "2024 was good"]
)
def test_a_sentence_is_not_mistaken_for_a_list(line: str) -> None:
    assert sentences(line) == [line]


def test_lines_columns_and_cells_stay_apart() -> None:
    assert sentences("One line\nwrapped here\r\nName\tAge\u2028end") == [
        "One line",
        "wrapped here",
        "Name",
        "Age",
        "end",
    ]
    assert sentences("| Name | Two words |\n|---|:-:|\n| x | Yes. Then |") == ["Name", "Two words", "x", "Yes.", "Then"]


def test_white_space_around_sentences_is_literal() -> None:
    parts = split("  One.  Two. \n", "en", markup=False, keep=Keep())
    assert [part.source for part in parts] == ["  ", "One.", "  ", "Two.", " \n"]


def test_a_control_character_is_dropped_inside_a_sentence_and_stays_outside() -> None:
    parts = split("\x07\nHe\x00llo world", "en", markup=False, keep=Keep())
    assert parts[0] == Literal("\x07\n")
    assert isinstance(parts[1], Sentence)
    assert [(piece.text, piece.source) for piece in parts[1].pieces] == [("Hello world", "He\x00llo world")]


def test_no_sentence_ends_inside_what_is_kept() -> None:
    parts = split("I like Yahoo! Inc. and you.", "en", markup=False, keep=Keep(preserve=("Yahoo! Inc.",)))
    assert [part.source for part in parts] == ["I like Yahoo! Inc. and you."]


def test_a_sentence_of_nothing_but_glossary_terms_is_still_translated() -> None:
    (part,) = split("server", "en", markup=False, keep=Keep(glossary={"server": "Rechner"}))
    assert isinstance(part, Sentence)
    assert not part.needs_model


@pytest.mark.slow  # times are of an idle machine
def test_time_grows_with_the_text_not_with_its_square() -> None:
    assert not slow(lambda text, markup: split(text, "en", markup=markup, keep=KEEP))


def test_one_long_line_of_short_sentences_is_split_everywhere() -> None:
    assert len(sentences("Hello there. " * 2000)) == 2000
    assert len(sentences("你好。" * 5000, "zh")) == 5000


@pytest.mark.parametrize("text", ["wordy " * 2000 + "end", "你好" * 5000, "a\u0301" * 5000, "x" * 9000 + "."])
def test_a_sentence_however_long_is_one(text: str) -> None:
    assert sentences(text) == [text]


@pytest.mark.parametrize("before", range(3970, 4010))
def test_a_sentence_ends_where_it_does_however_long_it_is(before: int) -> None:
    long = ("wordy " * 1000)[:before] + "ending."
    assert sentences(f"{long} Next one is here. And one more.") == [long, "Next one is here.", "And one more."]
    long = ("你好" * 3000)[:before] + "。"
    assert sentences(f"{long}再见！你", "zh") == [long, "再见！", "你"]
