"""Very long kept pieces are taken out of sentences: all is there, in order, and no model sees them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.translation.text import (
    Keep,
    Literal,
    Part,
    Sentence,
    cut_to_holders,
    in_pieces,
    isolate,
    join_pieces,
    split,
)
from tests.tasks.translation.hostile import documents, slow


def sentences(text: str, keep: Keep, *, markup: bool) -> list[Sentence]:
    return [part for part in split(text, "en", markup=markup, keep=keep) if isinstance(part, Sentence)]


def output(part: Part) -> str:
    """What the answer says if the model repeats what it is given."""
    return part.text if isinstance(part, Literal) else join_pieces(part, in_pieces(part))


@given(documents, st.booleans(), st.integers(0, 8))
def test_nothing_is_lost_and_nothing_long_is_left(text: str, markup: bool, longest: int) -> None:
    for sentence in sentences(text, Keep(), markup=markup):
        parts = isolate(sentence, longest)
        assert "".join(part.source for part in parts) == sentence.source
        assert all(part.source for part in parts)
        for part in parts:
            if isinstance(part, Sentence):
                assert part.markup == markup
                assert part == sentence or part.source == part.source.strip(" ")
                assert all(len(kept.text) <= longest for kept in part.kept)
        for before, after in pairwise(parts):
            assert isinstance(before, Sentence) or isinstance(after, Sentence)


@given(documents, st.integers(0, 8), st.text(max_size=12))
def test_the_answer_is_the_same(text: str, longest: int, target: str) -> None:
    keep = Keep(preserve=("C++",), glossary={"New York": target, "Mr": "M", "a": target})
    clean = "".join(char for char in text if ord(char) >= 32 and char != "\x7f")  # a sentence drops them
    for sentence in sentences(clean, keep, markup=False):
        for part in [sentence, *cut_to_holders(sentence, 2)]:
            whole, parts = output(part), "".join(map(output, isolate(part, longest)))
            assert parts.split() == whole.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<p>See <img src='data:image/png;base64,AAAA'> this &amp; <b>that</b>.",
            ["{See}", " <img src='data:image/png;base64,AAAA'> ", "{this &amp; <b>that</b>.}"],
        ),
        (
            "<p>A <b>big <img src='data:image/png;base64,AAAA'> dog</b> ran",
            ["{A <b>big}", " <img src='data:image/png;base64,AAAA'> ", "{dog</b> ran}"],
        ),
        ("<p>See 5 <img src='data:image/png;base64,AAAA'>.", None),
    ],
)
def test_where_sentences_are_left(text: str, expected: list[str] | None) -> None:
    (sentence,) = sentences(text, Keep(), markup=True)
    parts = [f"{{{part.source}}}" if isinstance(part, Sentence) else part.source for part in isolate(sentence, 20)]
    assert parts == (expected or ["{See 5}", " <img src='data:image/png;base64,AAAA'>."])


def test_a_long_translation_of_a_term_is_a_literal() -> None:
    (sentence,) = sentences("The cat sat", Keep(glossary={"cat": "R&D" * 9}), markup=True)
    assert [output(part) for part in isolate(sentence, 20)] == ["The", f" {'R&amp;D' * 9} ", "sat"]


def test_a_sentence_of_short_pieces_is_left_alone() -> None:
    (sentence,) = sentences("Give {name} 5 of 7", Keep(), markup=False)
    assert isolate(sentence, 6) == (sentence,)


@pytest.mark.slow  # times are of an idle machine
def test_time_grows_with_the_text() -> None:
    def run(text: str, markup: bool) -> None:
        for sentence in sentences(text, Keep(), markup=markup):
            isolate(sentence, 2)

    assert not slow(run)
