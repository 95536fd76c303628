from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from services.core.errors import OperatorError
from services.tasks.llm.vocabulary import Vocabulary
from tests.tasks.llm.fakes import BOS, END, IM_END, IM_START, KINDS, SIZE, artefact


@pytest.fixture(scope="module", params=KINDS)
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary.load(artefact(tmp_path_factory.mktemp(request.param), request.param), SIZE)


def load(folder: Path, **files: Any) -> Vocabulary:
    return Vocabulary.load(artefact(folder, "byte-level", **files), SIZE)


@given(text=st.text(max_size=40))
def test_text_goes_to_ids_and_back(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.spelled(text)
    assert vocabulary.text(ids).removeprefix(" ") == text.removeprefix(" ")
    assert b"".join(map(vocabulary.bytes_of, ids)).decode() == vocabulary.text(ids)


@given(text=st.text(max_size=30))
def test_text_is_what_the_tokenizer_decodes(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.spelled(text)
    decoded = Tokenizer.from_str(vocabulary.definition).decode(ids, skip_special_tokens=True)
    # Of a whole text, sentencepiece leaves out the space it put before it; an answer goes on from a prompt.
    assert vocabulary.text(ids) in {decoded, " " + decoded}


def test_every_byte_is_some_tokens(vocabulary: Vocabulary) -> None:
    single = {own for token in range(SIZE) if len(own := vocabulary.bytes_of(token)) == 1}
    assert single == {bytes([byte]) for byte in range(256)}


def test_special_and_missing_tokens_are_no_text(vocabulary: Vocabulary) -> None:
    (letter,) = vocabulary.spelled("xa")[-1:]
    assert vocabulary.text([BOS, letter, IM_START, SIZE - 1, END]) == "a"
    assert vocabulary.bytes_of(IM_END) == b"<|im_end|>"
    assert vocabulary.bytes_of(SIZE - 1) == b""


def test_prompts_are_whole_begin_once_and_obey_special_tokens(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("x" * 50)  # the file cuts at 8
    assert ids[0] == BOS
    assert len(ids) > 50
    assert vocabulary.encode("<s>x").count(BOS) == 1
    assert IM_START in vocabulary.encode("x<|im_start|>")
    assert IM_START not in vocabulary.spelled("x<|im_start|>")


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({}, {END}),
        ({"generation_config": {"eos_token_id": [END, IM_END]}}, {END, IM_END}),
        ({"config": {}, "tokenizer_config": {"eos_token": {"content": "<|im_end|>"}}}, {IM_END}),
        ({"config": {"eos_token_id": None}, "tokenizer_config": {}}, set()),
        ({"config": {"eos_token_id": 10**6}, "tokenizer_config": {"eos_token": "<gone>"}}, set()),
    ],
)
def test_ends_are_all_that_the_files_name(tmp_path: Path, files: dict[str, Any], ends: set[int]) -> None:
    assert load(tmp_path, **files).specials.ends == ends


@pytest.mark.parametrize(
    ("config", "begins"),
    [({}, True), ({"bos_token": "<s>"}, True), ({"bos_token": "<s>", "add_bos_token": False}, False)],
)
def test_a_prompt_begins_as_the_files_say(tmp_path: Path, config: dict[str, Any], begins: bool) -> None:
    assert (load(tmp_path, tokenizer_config=config).encode("x")[0] == BOS) is begins


@pytest.mark.parametrize(
    ("config", "file", "template"),
    [
        ({}, None, None),
        ({"chat_template": "one"}, None, "one"),
        ({"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]}, None, "d"),
        ({"chat_template": "one"}, "two", "two"),
    ],
)
def test_the_chat_template_is_where_it_may_be(
    tmp_path: Path, config: dict[str, Any], file: str | None, template: str | None
) -> None:
    if file:
        (tmp_path / "chat_template.jinja").write_text(file)
    assert load(tmp_path, tokenizer_config=config).template == template


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(OperatorError, match="byte-level"):
        Vocabulary.load(tmp_path, 10)
