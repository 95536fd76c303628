"""Text as it is spoken, and as it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.asr.text import spoken, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Mr. Smith paid $25 in 1963.", "mister smith paid twenty five dollars in nineteen sixty three"),
        ("The 21st of May, 12,500 people", "the twenty first of may twelve thousand five hundred people"),
        ("It's 3.5% — don’t ask!", "it's three point five percent don't ask"),
        ("'Quoted' dogs' tails", "quoted dogs tails"),
        ("rock & roll", "rock and roll"),
        ("No. 5", "no five"),
        (
            "1234567890123456789",
            "one two three four five six seven eight nine zero one two three four five six seven eight nine",
        ),
    ],
)
def test_spoken(text: str, expected: str) -> None:
    assert spoken(text, "en") == expected


def test_spoken_in_other_languages() -> None:
    assert spoken("Es sind 25 Häuser.", "de") == "es sind fünfundzwanzig häuser"
    assert spoken("25 ?", "xx") == "25"


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("", "en", ""),
        ("i have twenty five dollars", "en", "I have 25 dollars."),
        ("the twenty first of may i'd say", "en", "The 21st of may I'd say."),
        ("really?", "en", "Really?"),
        ("ich habe fünfundzwanzig bücher", "de", "Ich habe 25 bücher."),
        ("kaksi", "fi", "Kaksi."),
    ],
)
def test_written(text: str, language: str, expected: str) -> None:
    assert written(text, language) == expected


@given(st.text(max_size=80), st.sampled_from(["en", "de", "fr", "xx"]))
def test_anything_can_be_spoken_and_stays_so(text: str, language: str) -> None:
    once = spoken(text, language)
    assert once == once.lower().strip()
    assert "  " not in once
    written(text, language)


@given(st.integers(0, 10**9))
def test_numbers_become_words(number: int) -> None:
    assert not any(sign.isdigit() for sign in spoken(f"{number} {number:,}", "en"))
