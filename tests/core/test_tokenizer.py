from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import Code, ServingError
from services.core.tokenizer import Tokenizer

CLS, SEP = 1, 2


def ids(tokenizer: Tokenizer, text: str, truncate: bool = False) -> list[int]:
    found: list[int] = tokenizer.encode([text], truncate)[0].tolist()
    return found


def test_ids_are_int64_arrays_with_special_tokens(tokenizer_file: Path) -> None:
    (found,) = Tokenizer(tokenizer_file, 16, "m@1").encode(["abc"], truncate=False)
    assert found.dtype == np.int64
    assert len(found) == 5
    assert (found[0], found[-1]) == (CLS, SEP)


def test_the_files_own_padding_and_truncation_are_off(tokenizer_file: Path) -> None:
    tokenizer = Tokenizer(tokenizer_file, 100, "m@1")  # the file cuts at 8 and pads to 16
    assert [len(found) for found in tokenizer.encode(["a", "a" * 50], truncate=False)] == [3, 52]


@pytest.mark.parametrize("truncate", [False, True])
def test_text_up_to_the_limit_passes_whole(tokenizer_file: Path, truncate: bool) -> None:
    assert len(ids(Tokenizer(tokenizer_file, 10, "m@1"), "a" * 8, truncate)) == 10


def test_text_past_the_limit_is_refused_with_index_length_and_limit(tokenizer_file: Path) -> None:
    with pytest.raises(ServingError, match=r"text\[1\]: 11 tokens, and m@1 takes at most 10;.*truncate") as caught:
        Tokenizer(tokenizer_file, 10, "m@1").encode(["fine", "a" * 9, "b" * 99], truncate=False)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "text[1]")


def test_truncated_text_keeps_its_beginning_and_the_last_special_token(tokenizer_file: Path) -> None:
    whole = ids(Tokenizer(tokenizer_file, 100, "m@1"), "abcdefghijkl")
    cut = ids(Tokenizer(tokenizer_file, 10, "m@1"), "abcdefghijkl", truncate=True)
    assert cut == [*whole[:9], SEP]


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("text", ["\x00", "\x01\x02\x7f", "\u200b\u200e", "\ufeff"])
def test_text_of_control_characters_only_is_refused_with_its_index(
    tokenizer_file: Path, text: str, truncate: bool
) -> None:
    with pytest.raises(ServingError, match=r"text\[2\]: nothing is left") as caught:
        Tokenizer(tokenizer_file, 10, "m@1").encode(["a", "b", text], truncate)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "text[2]")


def test_control_characters_inside_a_text_are_ignored(tokenizer_file: Path) -> None:
    tokenizer = Tokenizer(tokenizer_file, 10, "m@1")
    assert ids(tokenizer, "a\x00b") == ids(tokenizer, "ab")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=30).map("a".__add__), min_size=1, max_size=6))
def test_a_texts_ids_do_not_depend_on_its_neighbours(tokenizer_file: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(tokenizer_file, 20, "m@1")
    together = tokenizer.encode(texts, truncate=True)
    assert [found.tolist() for found in together] == [ids(tokenizer, text, truncate=True) for text in texts]
    assert all(3 <= len(found) <= 20 and found[-1] == SEP for found in together)
