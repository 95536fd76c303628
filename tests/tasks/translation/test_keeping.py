"""What is kept of a text, and what is not."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.translation.text import Keep
from services.tasks.translation.text.terms import Terms
from tests.tasks.translation.hostile import documents


def kept(text: str, keep: Keep | None = None) -> list[str]:
    return [text[span.start : span.end] for span in (keep or Keep()).spans(text)]


@pytest.mark.parametrize(
    "term",
    [
        "{name}",
        "{0}",
        "{}",
        "{{x}}",
        "{{ user.name }}",
        "{% if x %}",
        "{price:.2f}",
        "%s",
        "%d",
        "%(name)s",
        "%1$s",
        "%.2f",
        "%%",
        "${var}",
        "$HOME",
        "https://example.com/a?b=c&d=%20#e",
        "http://localhost:8000",
        "www.example.org",
        "https://en.wikipedia.org/wiki/Rust_(language)",
        "ann.lee+x@mail.example.co.uk",
        "@ann",
        "#monday",
        "/etc/hosts",
        "~/notes",
        "./run.sh",
        "C:\\Users\\ann",
        "report_2.pdf",
        "example.com",
        "Node.js",
        "`npm install`",
        "\ue000\uf8ff",
        "😀",
        "🧑‍🚀",
        "5",
        "5,000.75",
        "1 000 000",
        "10:30",
        "2024-05-01",
        "01.05.2024",
        "1.2.3",
        "3-4",
        "10–20",
        "1/2",
        "-7",
        "1'000",
    ],
)
def test_one_thing_that_stays(term: str) -> None:
    assert kept(f"Take {term} now") == [term]
    assert kept(f"({term})") == [term] or term == "-7"
    assert kept(f"Take {term}, or not.") == [term]


@pytest.mark.parametrize(
    "text",
    [
        "word",
        "and/or",
        "A4 paper",
        "the 1st",
        "5kg",
        "he said: no",
        "% off",
        "C# or F#",
        "{not a placeholder}",
        "a.b",
        "it's",
        "e.g. this",
        "¿Qué?",
        "% sure",
        "$",
        "mail me @ home",
    ],
)
def test_ordinary_words_are_translated(text: str) -> None:
    assert kept(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Pay $5.50 (5 %)!", ["5.50", "5"]),
        ("See https://a.b/c.", ["https://a.b/c"]),
        ("(see https://a.b/c_(d))", ["https://a.b/c_(d)"]),
        ("见https://a.cn/x。好", ["https://a.cn/x"]),
        ("a 5-year-old, COVID-19", ["5", "19"]),
        ("1.2.3, 4", ["1.2.3", "4"]),
        ("in 2023 100 people", ["2023", "100"]),
        ("有5只", ["5"]),
        ("{a}{b}", ["{a}", "{b}"]),
    ],
)
def test_where_it_begins_and_ends(text: str, found: list[str]) -> None:
    assert kept(text) == found


def test_numbers_may_be_left_to_the_model() -> None:
    assert kept("5 of {n} at 10:30", Keep(numbers=False)) == ["{n}"]


def test_preserved_terms_are_whole_words_in_their_own_case() -> None:
    keep = Keep(preserve=("C++", ".NET", "Apple", "New York", "", " "))
    assert kept("Apple apple Apples Pineapple", keep) == ["Apple"]
    assert kept("C++, C++x, .NET and ASP.NET", keep) == ["C++", ".NET"]
    assert kept("东京塔 is in 东京", Keep(preserve=("东京",))) == ["东京", "东京"]


def test_the_longest_term_wins_and_none_overlap() -> None:
    keep = Keep(preserve=("New York",), glossary={"York": "Yorck", "New York City": "Neu-York", "new": "neu"})
    found = keep.spans("New York City, New York, York, New")
    assert [span.replacement for span in found] == ["Neu-York", None, "Yorck", "neu"]


def test_a_glossary_term_may_start_a_sentence() -> None:
    keep = Keep(glossary={"server": "Rechner", "GmbH": "Ltd", "Éclair": "Blitz"})
    found = keep.spans("Server, server, SERVER, GmbH, gmbH, servers, éclair")
    assert [span.replacement for span in found] == ["Rechner", "Rechner", "Ltd", "Ltd", "Blitz"]


def test_white_space_around_terms_is_not_part_of_them() -> None:
    keep = Keep(preserve=(" foo bar", "\t"), glossary={"server ": "Rechner", " ": "x"})
    assert [span.replacement for span in keep.spans("Server foo bar ")] == ["Rechner", None]


def test_a_shorter_term_is_found_where_a_longer_one_is_not_whole() -> None:
    terms = ("a", "a b", "a b c", "a b cd e", "东", "东京都")
    assert kept("a b cd, a b c, a bc, ab", Keep(preserve=terms)) == ["a b", "a b c", "a"]
    assert kept("东京 东京都", Keep(preserve=terms)) == ["东", "东京都"]


TERMS = st.text(alphabet="ab. 东_é\u0301", min_size=1, max_size=4).filter(lambda term: term == term.strip())


@given(st.text(alphabet="ab. 东_é\u0301", max_size=30), st.lists(TERMS, min_size=1, max_size=8))
def test_terms_are_found_as_by_trying_each_everywhere(text: str, terms: list[str]) -> None:
    def whole(term: str) -> str:
        before, after = ("" if char == "东" else r"\w" for char in (term[0], term[-1]))
        return (f"(?<!{before})" if before else "") + re.escape(term) + (f"(?!{after})" if after else "")

    expected = re.findall("|".join(map(whole, sorted(terms, key=len, reverse=True))), text)
    assert [text[start:end] for start, end in Terms(terms).find(text)] == expected


def test_a_thousand_terms_take_hardly_longer_than_one() -> None:
    words = [f"{first}{middle}ther{last}" for first in "abcdefghij" for middle in "aeiouyäöüé" for last in "abcdefghij"]
    text = " ".join(words) * 10
    for terms in (words, [f"{word} of {word}" for word in words], ["a." * length for length in range(1, 100)]):
        start = time.perf_counter()
        Keep(preserve=tuple(terms), glossary=dict.fromkeys(terms, "x")).spans(text)
        assert time.perf_counter() - start < 1.5


@given(documents, st.lists(st.text(max_size=5), max_size=4), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_spans_are_in_order_apart_and_not_empty(text: str, preserve: list[str], glossary: dict[str, str]) -> None:
    done = 0
    for span in Keep(tuple(preserve), glossary).spans(text):
        assert done <= span.start < span.end <= len(text)
        done = span.end


@given(documents)
def test_private_use_characters_are_always_kept(text: str) -> None:
    covered = {place for span in Keep().spans(text) for place in range(span.start, span.end)}
    assert all(place in covered for place, char in enumerate(text) if "\ue000" <= char <= "\uf8ff")
