"""Fields of schemas, their widgets, views: what people see and what is sent."""

import json
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradio_demos.calls import Server, calls
from gradio_demos.schema import Field, FieldType, fields_of
from gradio_demos.tab import _label, _view
from gradio_demos.views import find_view
from gradio_demos.widgets import widget
from services.clients import AsyncRestClient, Code, ServingError
from services.core.task import discover
from services.edges.cards import MethodCard

SCHEMA = {
    "properties": {
        "limit": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}], "default": None},
        "speed": {"type": "number", "default": 1.0},
        "quick": {"type": "boolean", "default": False, "description": "Hurry."},
        "language": {"$ref": "#/$defs/Language"},
        "name": {"type": "string"},
        "text": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "weights": {"type": "array", "items": {"type": "number"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "anything": {},
        "level": {"enum": [1, 2], "type": "integer"},
        "mixed": {"enum": ["a", 1], "type": "string"},
        "sound": {"type": "string", "format": "byte", "contentMediaType": "audio/*"},
    },
    "required": ["text"],
    "$defs": {"Language": {"type": "string", "enum": ["de", "en"]}},
}


def test_each_type_of_field_is_known_and_the_required_come_first() -> None:
    fields = fields_of(SCHEMA)
    assert [(field.name, field.type) for field in fields] == [
        ("text", FieldType.TEXTS),
        ("limit", FieldType.INTEGER),
        ("speed", FieldType.NUMBER),
        ("quick", FieldType.BOOLEAN),
        ("language", FieldType.CHOICE),
        ("name", FieldType.STRING),
        ("weights", FieldType.JSON),
        ("either", FieldType.JSON),
        ("anything", FieldType.JSON),
        ("level", FieldType.INTEGER),
        ("mixed", FieldType.JSON),
        ("sound", FieldType.BYTES),
    ]
    by_name = {field.name: field for field in fields}
    assert by_name["language"].choices == ("de", "en")
    assert by_name["quick"].description == "Hurry."
    assert by_name["sound"].is_audio


@pytest.mark.parametrize("task", discover(opt_in=True), ids=lambda task: task.name)
def test_every_example_of_every_task_comes_back_from_its_widgets(task: Any) -> None:
    for example in task.examples:
        body = example.model_dump(mode="json", exclude_unset=True)
        for field in fields_of(type(example).model_json_schema()):
            one = widget(field, ["m@1"])
            read = one.read(*one.show(body.get(field.name)))
            read = b64encode(read).decode() if isinstance(read, bytes) else read
            if field.name in body:
                assert body[field.name] in (read, [read])  # one text may stand without its list
            else:
                assert read in (None, field.default)


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1, max_size=5))
def test_texts_come_back_as_they_were_shown(texts: list[str]) -> None:
    one = widget(Field("text", FieldType.TEXTS, required=True))
    read = one.read(*one.show(texts))
    assert ([read] if isinstance(read, str) else read) == texts


def test_a_text_of_several_lines_stays_one_if_people_say_so() -> None:
    one = widget(Field("text", FieldType.TEXTS, required=True))
    assert one.read("a\n\nb", False) == "a\n\nb"
    assert one.read("a\n\nb", True) == ["a", "b"]
    assert one.read(" \n", True) == " \n"  # the server says what is wrong with that
    assert one.show(["a\nb"]) == ("a\nb", False)


@pytest.mark.parametrize(
    ("type_", "written", "number"),
    [
        (FieldType.INTEGER, "12", 12),
        (FieldType.INTEGER, " ", None),
        (FieldType.NUMBER, "0.5", 0.5),
        (FieldType.NUMBER, "-1e3", -1000.0),
        (FieldType.NUMBER, "", None),
    ],
)
def test_a_number_that_may_be_left_out_is_never_taken_for_0(type_: FieldType, written: str, number: Any) -> None:
    one = widget(Field("limit", type_))
    assert one.read(written) == one.read(*one.show(number)) == number


@pytest.mark.parametrize(("type_", "written"), [(FieldType.INTEGER, "1.5"), (FieldType.NUMBER, "half")])
def test_what_is_no_number_is_told(type_: FieldType, written: str) -> None:
    with pytest.raises(ServingError) as caught:
        widget(Field("limit", type_)).read(written)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "limit")


@pytest.mark.parametrize(("media", "component"), [("audio/*", gr.Audio), ("", gr.File), ("image/png", gr.File)])
def test_a_file_is_filled_in_from_base64_and_read_as_bytes(media: str, component: type[gr.Component]) -> None:
    one = widget(Field("data", FieldType.BYTES, media=media))
    assert isinstance(one.components[0], component)
    assert one.read(*one.show(b64encode(b"\0RIFF").decode())) == b"\0RIFF"
    assert one.show(None) == (None,)
    assert one.read(None) is None


def test_an_example_with_a_file_says_how_large_that_is() -> None:
    field = Field("data", FieldType.BYTES)
    assert _label({"data": "A" * 4000, "language": "en"}, [field]) == "a file of 3.0 kB, language en"


def test_what_no_widget_knows_is_json_and_says_so() -> None:
    one = widget(Field("weights", FieldType.JSON, "Weights."))
    (box,) = one.components
    assert box.label == "weights (JSON)"
    assert "write JSON" in box.info
    assert one.read("[1, 2]") == [1, 2]
    assert one.read(" ") is None
    assert one.show({"a": 1}) == ('{"a": 1}',)
    with pytest.raises(ServingError) as caught:
        one.read("[1,")
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "weights")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@given(st.text() | st.sampled_from(["<script>", "</p><img src=x onerror=alert(1)>", "&lt;b&gt;", '"']))
def test_bars_show_texts_and_labels_as_text_whatever_they_hold(text: str) -> None:
    show = find_view("classification")
    assert show
    answer = {"results": [{"labels": [{"label": f"[{text}", "score": 0.25}]}]}
    reader = Reader()
    reader.feed(show({"text": f"({text}"}, answer))
    reader.close()
    assert reader.tags == ["section", "p", "div", "span", "span", "span", "span"]
    assert "".join(reader.words) == f"({text}[{text}25.0 %"


@given(st.text() | st.sampled_from(["<script>", "</p><img src=x onerror=alert(1)>", "&lt;b&gt;", '"']))
def test_translations_show_texts_and_tokens_as_text_whatever_they_hold(text: str) -> None:
    show = find_view("translation")
    assert show
    alignment = {"source": [text], "target": [{"token": text, "weights": [0.5]}]}
    other = {"translation": text, "score": 0.25}
    result = {"translation": text, "source": "en", "target": text, "score": 0.5, "flags": [text]}
    reader = Reader()
    reader.feed(show({"text": text}, {"results": [{**result, "alternatives": [other], "alignment": [alignment]}]}))
    reader.close()
    assert set(reader.tags) == {"section", "p", "small", "mark", "ul", "li", "div", "table", "tr", "th", "td"}
    assert "".join(reader.words).count(text) >= 5  # tokens lose the space around them


@pytest.mark.parametrize(("certificate", "security"), [(None, "-plaintext"), (Path("a b.pem"), "-cacert 'a b.pem'")])
def test_grpcurl_is_told_how_to_trust_the_server(certificate: Path | None, security: str) -> None:
    method = MethodCard(
        verb="Do", kind="unary", route="/v1/do", rpc="/a.B/Do", request_schema=SCHEMA, response_schema={}
    )
    server = Server(AsyncRestClient(), "http://h", "h:9000", certificate)
    _, grpcurl, _ = calls(server, method, {"text": "a"})
    assert grpcurl == f"""grpcurl {security} -d '{{"text": ["a"]}}' h:9000 a.B/Do"""


def test_an_answer_that_a_view_does_not_know_is_told_as_that() -> None:
    show = find_view("classification")
    assert "as it came" in _view(show, {"text": "a"}, {"novelty": []})
    assert "as it came" in _view(show, {"text": ["a", "b"]}, {"results": [{"labels": []}]})
    assert _view(None, {}, {}) == ""


@pytest.mark.parametrize("task", ["echo", "../views", "no such", ""])
def test_a_task_without_a_view_has_none(task: str) -> None:
    assert find_view(task) is None


def test_json_round_trips() -> None:
    one = widget(Field("anything", FieldType.JSON))
    for value in ({"a": [1, None]}, [True], 0, "x"):
        assert one.read(*one.show(value)) == json.loads(json.dumps(value))
