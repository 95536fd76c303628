"""Reading an answer token by token, against its whole text cut in one go."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.generation.records import Token
from services.tasks.llm.reading import Delta, Reading
from services.tasks.llm.stopping import Stops
from services.tasks.llm.vocabulary import Vocabulary
from tests.tasks.llm.fakes import END, KINDS, SIZE, artefact

Vocabularies = dict[str, Vocabulary]

# Few letters, so that stop texts begin, break off, overlap and end within tokens; and bytes that are no characters.
stop_texts = st.lists(st.text("ahel é\ufffd", min_size=1, max_size=5), max_size=4)
said = st.lists(st.text("ahel é日") | st.integers(4, SIZE - 1), max_size=12)


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    return {kind: Vocabulary.load(artefact(tmp_path_factory.mktemp(kind), kind), SIZE) for kind in KINDS}


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    return Vocabulary.load(artefact(tmp_path, "byte-level"), SIZE)


def read(vocabulary: Vocabulary, ids: list[int], stops: list[str], ends: frozenset[int] = frozenset()) -> list[Delta]:
    reader = Reading(vocabulary, Stops(stops), 7, ends).reader(3)
    deltas = []
    for token in ids:
        deltas.append(reader.read(Token(token)))
        if reader.finished:
            break
    else:
        deltas.append(reader.cut())
    return [delta for delta in deltas if delta is not None]


def cut(text: str, stops: list[str]) -> tuple[str, str]:
    """The text up to the first stop text that is complete, letter by letter; and why it ends."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], "stop"
    return text, "length"


@pytest.mark.parametrize("kind", KINDS)
@given(said=said, stops=stop_texts)
def test_deltas_joined_are_the_text_up_to_its_first_stop(
    vocabularies: Vocabularies, kind: str, said: list[str | int], stops: list[str]
) -> None:
    vocabulary = vocabularies[kind]
    ids = [token for one in said for token in (vocabulary.spelled(one) if isinstance(one, str) else [one])]
    deltas = read(vocabulary, ids, stops)
    assert ("".join(delta.text for delta in deltas), deltas[-1].finish_reason) == cut(vocabulary.text(ids), stops)
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert (deltas[0].prompt_tokens, deltas[0].cached_tokens) == (7, 3)
    assert not any(delta.prompt_tokens for delta in deltas[1:])


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=20))
def test_no_part_of_a_character_is_told(vocabularies: Vocabularies, kind: str, text: str) -> None:
    vocabulary = vocabularies[kind]
    ids = vocabulary.spelled(text)
    told = ""
    for delta in read(vocabulary, ids, []):
        told += delta.text
        assert vocabulary.text(ids).startswith(told)
    assert told == vocabulary.text(ids)
    assert sum(delta.tokens for delta in read(vocabulary, ids, [])) == len(ids)


@pytest.mark.parametrize(
    ("stops", "texts"),
    [
        (["xyz"], ["a", "b", "c", "xa"]),  # what could begin a stop text waits, and nothing else
        (["bc"], ["a", ""]),
        (["abcx", "b"], ["a"]),
        (["c"], ["a", "b", ""]),
        (["zz"], ["a", "b", "c", "x", "a"]),
    ],
)
def test_the_least_is_held_back(vocabulary: Vocabulary, stops: list[str], texts: list[str]) -> None:
    told = [delta.text for delta in read(vocabulary, vocabulary.spelled("abcxa"), stops)]
    assert told == texts or told == [*texts, ""]


def test_an_end_ends_and_tells_what_was_held_back(vocabulary: Vocabulary) -> None:
    ids = [*vocabulary.spelled("ax"), END]
    assert [delta.text for delta in read(vocabulary, ids, ["xyz"], frozenset({END}))] == ["a", "x"]
    (*_, last) = read(vocabulary, ids, [], frozenset({END}))
    assert (last.text, last.tokens, last.finish_reason) == ("", 1, "stop")


def test_ignored_ends_are_no_text(vocabulary: Vocabulary) -> None:
    (letter,) = vocabulary.spelled("x")
    deltas = read(vocabulary, [letter, END, letter], [])
    assert "".join(delta.text for delta in deltas) == "xx"
    assert deltas[-1].finish_reason == "length"


def test_half_a_character_at_the_limit_is_shown_as_such(vocabulary: Vocabulary) -> None:
    assert [delta.text for delta in read(vocabulary, vocabulary.spelled("é")[:1], [])] == ["\ufffd"]


def test_log_probabilities_come_with_the_text_they_are_of(vocabulary: Vocabulary) -> None:
    reader = Reading(vocabulary, Stops([]), 1, frozenset({END})).reader(0)
    first, second = vocabulary.spelled("é")
    assert reader.read(Token(first, -1.0, ((first, -1.0), (second, -2.0)))) is None
    delta = reader.read(Token(second, -0.5))
    assert delta is not None
    assert delta.tokens == 2
    assert [(one.bytes, one.logprob) for one in delta.logprobs] == [((0xC3,), -1.0), ((0xA9,), -0.5)]
    assert [(one.token, one.bytes) for one in delta.logprobs[0].top] == [("\ufffd", (0xC3,)), ("\ufffd", (0xA9,))]
    ended = reader.read(Token(END, -3.0))
    assert ended is not None
    assert ended.logprobs == ()
