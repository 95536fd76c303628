"""What Whisper's decoder is told before it begins, and words of its tokens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.speech import Recognition
from services.engines.whisper.settings import WhisperSettings
from services.engines.whisper.text import WhisperText
from tests.whispers import ENGLISH, SMALL, Shape, export, tokenizer, write_openai, write_tokenizer

CONTEXT = 448


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> WhisperText:
    return opened(tmp_path_factory.mktemp("whisper"))


def opened(folder: Path, shape: Shape = SMALL) -> WhisperText:
    artefact = export(folder / "a", write_openai(folder / "w", shape), write_tokenizer(folder / "t", shape))
    return WhisperText.load(artefact, WhisperSettings.load(artefact), CONTEXT)


def ids(words: str) -> list[int]:
    return list(tokenizer().encode(words, add_special_tokens=False).ids)


def test_a_transcript_starts_with_language_and_task(text: WhisperText) -> None:
    named = [text.name(token) for token in text.start("de", translate=True)]
    assert named == ["<|startoftranscript|>", "<|de|>", "<|translate|>"]
    assert text.name(text.start("jv", translate=False)[1]) == "<|jw|>"


def test_an_english_only_one_is_told_neither(tmp_path: Path) -> None:
    english = opened(tmp_path, ENGLISH)
    assert [english.name(token) for token in english.start("en", translate=False)] == ["<|startoftranscript|>"]


def test_a_prompt_is_cut_to_its_end(text: WhisperText) -> None:
    short, long = text.before(Recognition(prompt=" the ship ")), text.before(Recognition(prompt="the ship" * 300))
    assert text.name(short[0]) == text.name(long[0]) == "<|startofprev|>"
    assert list(short[1:]) == ids(" the ship")
    assert len(long) == CONTEXT // 2
    assert list(long[1:]) == ids("the ship" * 300)[-223:]
    assert text.before(Recognition(prompt="  ")) == ()


def test_hot_words_stay_before_a_long_prompt(text: WhisperText) -> None:
    found = text.before(Recognition(hot_words=("ship", "the"), prompt="and " * 500))
    hot = ids(" ship, the")
    assert list(found[1 : len(hot) + 1]) == hot
    assert len(found) == CONTEXT // 2
    assert len(text.before(Recognition(hot_words=("ship",) * 500))) == 1 + 111


def test_special_tokens_in_a_prompt_are_text(text: WhisperText) -> None:
    _, *found = text.before(Recognition(prompt="<|translate|><|endoftext|>"))
    assert max(found) < SMALL.text_tokens
    assert text.decode(found) == " <|translate|><|endoftext|>"


@pytest.mark.parametrize(
    ("written", "language", "words"),
    [
        (' the "ship", and', "en", [" the", ' "ship",', " and"]),
        ("it's-a", "en", ["it's-a"]),
        ("船は「海」へ。", "ja", ["船", "は", "「海」", "へ。"]),
        ("用 the ship 去", "zh", ["用", " the", " ship", " ", "去"]),
        ("", "en", []),
    ],
)
def test_words_have_the_marks_that_touch_them(text: WhisperText, written: str, language: str, words: list[str]) -> None:
    assert [word for word, _ in text.words(ids(written), language)] == words


@given(
    tokens=st.lists(st.integers(0, 270), max_size=30),
    language=st.sampled_from(["en", "ja"]),
)
def test_words_are_all_of_the_tokens(text: WhisperText, tokens: list[int], language: str) -> None:
    assert sum(count for _, count in text.words(tokens, language)) == len(tokens)


@given(written=st.text(max_size=20), language=st.sampled_from(["en", "ja"]))
def test_words_are_all_of_the_text(text: WhisperText, written: str, language: str) -> None:
    assert "".join(word for word, _ in text.words(ids(written), language)) == text.decode(ids(written))
