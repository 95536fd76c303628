"""Long sentences in parts: all of the sentence, all that fit, no more questions than need be."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.translation.text import Keep, Kept, Sentence, Words, cut, cut_to_holders, split
from tests.tasks.translation.hostile import documents, slow


def plain(text: str) -> Sentence:
    return Sentence((Words(text, text),))


def sources(sentence: Sentence, limit: int) -> list[str]:
    return [part.source for part in cut(sentence, lambda part: len(part.source) <= limit)]


def fits(asked: list[Sentence], limit: int, part: Sentence) -> bool:
    asked.append(part)
    return len(part.source) <= limit


def is_single(sentence: Sentence) -> bool:
    seen = "".join("x" if isinstance(piece, Kept) else piece.text for piece in sentence.pieces)
    return len(seen) <= 1 or sentence.source.startswith("&")


@given(documents, st.booleans(), st.integers(0, 20))
def test_the_parts_are_the_sentence_and_questions_are_few(text: str, markup: bool, limit: int) -> None:
    for sentence in split(text, "en", markup=markup, keep=Keep()):
        if isinstance(sentence, Sentence):
            asked: list[Sentence] = []
            parts = cut(sentence, partial(fits, asked, limit))
            assert "".join(part.source for part in parts) == sentence.source
            assert [kept for part in parts for kept in part.kept] == list(sentence.kept)
            assert all(part.markup == markup and part.source for part in parts) or not sentence.source
            assert all(len(part.source) <= limit or is_single(part) for part in parts)
            assert len(asked) < 2 * len(parts)


@given(documents, st.integers(1, 3))
def test_no_part_has_more_kept_than_asked(text: str, most: int) -> None:
    for sentence in split(text, "en", markup=True, keep=Keep()):
        if isinstance(sentence, Sentence):
            assert all(len(part.kept) <= most for part in cut_to_holders(sentence, most))


def test_what_fits_is_not_cut() -> None:
    sentence = plain("One, two; three.")
    assert cut(sentence, lambda _: True) == [sentence]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("He came, he saw; he won, he left.", 20, ["He came, he saw;", " he won, he left."]),
        ("He came at nine, he saw nobody there", 25, ["He came at nine,", " he saw nobody there"]),
        ("one two three four", 11, ["one two", " three four"]),
        ("他来了，他看见了，他赢了", 8, ["他来了，", "他看见了，他赢了"]),
        ("aaaaaaaaaa", 5, ["aaaaa", "aaaaa"]),
        ("1,5 x 2,5", 5, ["1,5 x", " 2,5"]),
    ],
)
def test_where_it_is_cut(text: str, limit: int, expected: list[str]) -> None:
    assert sources(plain(text), limit) == expected


def test_accents_families_and_kept_pieces_stay_whole() -> None:
    assert sources(plain("a\u0301e\u0301"), 2) == ["a\u0301", "e\u0301"]
    assert sources(plain("👩\u200d👩\u200d👦👍🏽"), 5) == ["👩\u200d👩\u200d👦", "👍🏽"]
    address = Kept("https://a.b", "https://a.b", "https://a.b")
    parts = cut(Sentence((Words("x", "x"), address)), lambda _: False)
    assert parts == [plain("x"), Sentence((address,))]


def test_kept_pieces_are_parted_whatever_joins_them() -> None:
    (sentence,) = split("x" + "\u200d{a}" * 20, "en", markup=False, keep=Keep())
    assert isinstance(sentence, Sentence)
    assert all(len(part.kept) <= 8 for part in cut_to_holders(sentence, 8))


@pytest.mark.parametrize("text", ["a" + "\u0301" * 3000, "ab" + "\u0301" * 50, "\u200d" * 99, "👍" + "🏽" * 40])
def test_what_does_not_break_is_cut_if_it_must(text: str) -> None:
    parts = sources(plain(text), 8)
    assert "".join(parts) == text
    assert all(0 < len(part) <= 8 for part in parts)


def test_entities_of_two_characters_are_not_cut() -> None:
    (sentence,) = split("a&fjlig;&NotEqualTilde;\u0301b", "en", markup=True, keep=Keep())
    assert isinstance(sentence, Sentence)
    parts = cut(sentence, lambda _: False)
    assert [part.source for part in parts] == ["a", "&fjlig;", "&NotEqualTilde;", "\u0301", "b"]
    assert [piece.text for part in parts for piece in part.pieces] == ["a", "fj", "≂\u0338", "\u0301", "b"]


def test_entities_are_not_cut() -> None:
    sentence = Sentence((Words("&&&&", "&amp;&amp;&amp;&amp;"),), markup=True)
    assert sources(sentence, 5) == ["&amp;"] * 4


@pytest.mark.slow  # times are of an idle machine
def test_time_grows_with_the_text() -> None:
    def run(text: str, markup: bool) -> None:
        for part in split(text, "en", markup=markup, keep=Keep()):
            if isinstance(part, Sentence):
                cut(part, lambda part: len(part.kept) <= 8 and len(part.source) <= 100)

    assert not slow(run)
