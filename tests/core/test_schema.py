import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.core.schema import MAX_ITEMS
from services.tasks.classification.schema import ClassifyRequest


def problem(data: object) -> tuple[str, tuple[int | str, ...]]:
    """Type and place of the first problem; JSON and python must find the same one."""
    with pytest.raises(ValidationError) as from_python:
        ClassifyRequest.model_validate(data)
    with pytest.raises(ValidationError) as from_json:
        ClassifyRequest.model_validate_json(json.dumps(data))
    found = [(error.value.errors()[0]["type"], error.value.errors()[0]["loc"]) for error in (from_python, from_json)]
    assert found[0] == found[1]
    return found[0]


MIXED_SCRIPTS = [
    "plain",
    "naïve café",
    "日本語のテキスト",
    "עברית English",
    "مرحبا",
    "👩‍👩‍👧 🇫🇷",
    "e\u0301",
    "a\x00b",
]


@pytest.mark.parametrize("text", MIXED_SCRIPTS)
def test_text_is_kept_code_point_by_code_point(text: str) -> None:
    for data in ({"text": text}, {"text": [text]}):
        assert ClassifyRequest.model_validate(data).text == (text,)
        assert ClassifyRequest.model_validate_json(json.dumps(data)).text == (text,)
        assert ClassifyRequest.model_validate_json(json.dumps(data, ensure_ascii=False)).text == (text,)


@settings(max_examples=50)
@given(texts=st.lists(st.text(min_size=1).filter(lambda text: not text.isspace()), min_size=1, max_size=10))
def test_a_list_keeps_its_order_and_size_is_its_characters(texts: list[str]) -> None:
    request = ClassifyRequest.model_validate_json(json.dumps({"text": texts}))
    assert request.text == tuple(texts)
    assert request.size == len("".join(texts))


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000", "\u2028"])
def test_blank_text_is_refused_with_its_index(blank: str) -> None:
    assert problem({"text": blank}) == ("blank_text", ("text", 0))
    assert problem({"text": ["fine", "fine", blank]}) == ("blank_text", ("text", 2))


def test_the_list_is_bounded() -> None:
    assert len(ClassifyRequest.model_validate({"text": ["a"] * MAX_ITEMS}).text) == MAX_ITEMS == 1024
    assert problem({"text": ["a"] * 1025}) == ("too_many_texts", ("text",))
    assert problem({"text": []}) == ("no_text", ("text",))


def test_an_oversized_list_is_refused_before_its_items_are_read() -> None:
    assert problem({"text": [3] * 1025}) == ("too_many_texts", ("text",))


@pytest.mark.parametrize("text", [3, None, True, {"a": "b"}, 1.5])
def test_text_of_a_wrong_type_is_refused(text: object) -> None:
    assert problem({"text": text}) == ("text_type", ("text",))
    assert problem({"text": ["fine", text]}) == ("string_type", ("text", 1))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"top_k": "3"}, "int_type"),
        ({"top_k": True}, "int_type"),
        ({"top_k": 2.0}, "int_type"),
        ({"top_k": 0}, "greater_than_equal"),
        ({"top_k": 10_001}, "less_than_equal"),
        ({"truncate": 1}, "bool_type"),
        ({"truncate": "true"}, "bool_type"),
        ({"truncate": None}, "bool_type"),
        ({"model": 3}, "string_type"),
        ({"topk": 3}, "extra_forbidden"),
    ],
)
def test_nothing_is_converted_and_unknown_fields_are_refused(fields: dict[str, object], kind: str) -> None:
    assert problem({"text": "fine", **fields}) == (kind, tuple(fields))


@pytest.mark.parametrize("model", ["a", "sentiment-en", "sentiment-en@1", "a@1:b", "a@1.2:b@2", "0._-"])
def test_model_ids(model: str) -> None:
    assert ClassifyRequest(text=("fine",), model=model).model == model


@pytest.mark.parametrize("model", ["A", "a@", "@1", "a:b:c", "a/b", "../a", "a\n", "-a", "a b", "é"])
def test_what_is_no_model_id_is_refused(model: str) -> None:
    assert problem({"text": "fine", "model": model})[1] == ("model",)


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(ClassifyRequest(text=("fine",)), "top_k", 3)  # noqa: B010


@pytest.mark.parametrize(
    "body", [rb'{"text": "a\ud800"}', rb'{"text": ["a", "\udc00b"]}', b'{"text": "\xed\xa0\x80"}', b'{"text": "\xff"}']
)
def test_json_that_is_not_unicode_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationError, match="Invalid JSON"):
        ClassifyRequest.model_validate_json(body)


def test_a_lone_surrogate_given_in_python_is_refused_with_its_index() -> None:
    with pytest.raises(ValidationError) as caught:
        ClassifyRequest(text=("fine", "a\ud800"))
    assert caught.value.errors()[0]["loc"] == ("text", 1)


def test_an_empty_model_id_is_an_omitted_one() -> None:
    assert ClassifyRequest(text=("fine",), model="").model is None
