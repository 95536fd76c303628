"""How people fill each field of a request: which components, and what their values mean. Knows no task."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import move_files_to_cache, save_bytes_to_cache

from gradio_demos.schema import Field, FieldType
from services.clients import Code, ServingError
from services.core.audio.header import HEAD, container_of


@dataclass(frozen=True)
class Widget:
    """The components of one field, and the way between their values and the request's.

    Args:
        field: what is filled.
        components: what people see, in order.
        read: the components' values -> the field's value; None leaves the field out.
        show: the field's value -> the components' values.
    """

    field: Field
    components: tuple[gr.components.Component, ...]
    read: Callable[..., Any]
    show: Callable[[Any], tuple[Any, ...]]


def widget(field: Field, models: Sequence[str] = ()) -> Widget:
    """The widget for a field; ``models`` are what a field called ``model`` may be."""
    if field.name == "model":
        return _model(field, models)
    return _BUILDERS[field.type](field)


def show_all(widgets: Sequence[Widget], body: Mapping[str, Any]) -> list[Any]:
    """The values of all components for a request."""
    return [value for one in widgets for value in one.show(body.get(one.field.name))]


def read_all(widgets: Sequence[Widget], values: Sequence[Any]) -> dict[str, Any]:
    """The request: fields that say what the server would take anyway are left out. Raises ServingError."""
    left, body = list(values), {}
    for one in widgets:
        mine, left = left[: len(one.components)], left[len(one.components) :]
        value = one.read(*mine)
        if value is not None and (one.field.required or value != one.field.default):
            body[one.field.name] = value
    return body


def fill(component: gr.components.Component, value: Any) -> None:
    """What the component shows when the page opens; files go to where pages get them, as by its constructor."""
    component.value = move_files_to_cache(component.postprocess(value), component, postprocess=True, keep_in_cache=True)


def _model(field: Field, models: Sequence[str]) -> Widget:
    box = gr.Dropdown(model_choices(models), value="", label="model", info=field.description)
    return Widget(field, (box,), lambda value: value or None, lambda value: (value or "",))


def model_choices(models: Sequence[str]) -> list[tuple[str, str]]:
    """What a field called ``model`` may be, as a dropdown has it."""
    return [("the default", ""), *((model, model) for model in models)]


def _texts(field: Field) -> Widget:
    box = gr.Textbox(label=field.name, info=field.description, lines=4, max_lines=16)
    many = gr.Checkbox(label="Each line is a text of its own", value=True, container=False)

    def read(text: str, by_line: bool) -> Any:  # as Gradio calls it
        lines = [line for line in text.split("\n") if line.strip()] if by_line else [text]
        return lines[0] if len(lines) == 1 else lines or text

    def show(value: Any) -> tuple[Any, ...]:
        texts = [value] if isinstance(value, str) else value or [""]
        return "\n".join(map(str, texts)), not any("\n" in str(text) for text in texts)

    return Widget(field, (box, many), read, show)


def _string(field: Field) -> Widget:
    box = gr.Textbox(value=field.default or "", label=field.name, info=field.description)
    return _plain(field, box, lambda value: value or None)


def _choice(field: Field) -> Widget:
    box = gr.Dropdown(list(field.choices), value=field.default, label=field.name, info=field.description)
    return _plain(field, box, lambda value: value or None)


def _boolean(field: Field) -> Widget:
    if field.default is None and not field.required:  # left out is a third choice
        choices = [("the default", None), ("yes", True), ("no", False)]
        return _plain(field, gr.Dropdown(choices, label=field.name, info=field.description), lambda value: value)
    box = gr.Checkbox(value=bool(field.default), label=field.name, info=field.description)
    return _plain(field, box, bool)


def _number(field: Field) -> Widget:
    # No limits here: what is past them, the server says in a sentence.
    if not isinstance(field.default, int | float):
        return _optional_number(field)
    precision = 0 if field.type is FieldType.INTEGER else None
    box = gr.Number(value=field.default, label=field.name, info=field.description, precision=precision)
    return _plain(field, box, lambda value: value)


def _optional_number(field: Field) -> Widget:
    """A box that may stay empty; Gradio's own shows, and sends, nothing as 0."""
    kind, noun = (int, "whole number") if field.type is FieldType.INTEGER else (float, "number")
    box = gr.Textbox(label=field.name, info=field.description)

    def read(text: str) -> Any:
        try:
            return kind(text) if text.strip() else None
        except ValueError as error:
            message = f"{field.name}: write a {noun}, or nothing"
            raise ServingError(Code.INVALID_ARGUMENT, message, field.name) from error

    return Widget(field, (box,), read, lambda value: ("" if value is None else str(value),))


def _bytes(field: Field) -> Widget:
    """A file, which Gradio keeps in its cache; examples have it as base64."""
    gr.HTML(f'<p class="facts">{escape(field.description)}</p>')  # neither component has room for it
    box: gr.Audio | gr.File
    if field.is_audio:
        box = gr.Audio(type="filepath", label=field.name, buttons=["download"])
    else:
        box = gr.File(label=field.name)

    def show(value: str | None) -> tuple[Any, ...]:
        if value is None:
            return (None,)
        content = b64decode(value)
        kind = container_of(content[:HEAD]) if field.is_audio else None
        return (save_bytes_to_cache(content, f"example.{kind or 'bin'}", box.GRADIO_CACHE),)

    return Widget(field, (box,), lambda path: Path(path).read_bytes() if path else None, show)


def _json(field: Field) -> Widget:
    info = f"{field.description} There is no widget for this kind of value: write JSON.".strip()
    value = "" if field.default is None else json.dumps(field.default, ensure_ascii=False)
    box = gr.Textbox(value=value, label=f"{field.name} (JSON)", info=info, lines=3)

    def read(text: str) -> Any:
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            message = f"{field.name}: this is not JSON: {error}"
            raise ServingError(Code.INVALID_ARGUMENT, message, field.name) from error

    return Widget(field, (box,), read, lambda value: ("" if value is None else json.dumps(value, ensure_ascii=False),))


def _plain(field: Field, box: gr.components.Component, read: Callable[[Any], Any]) -> Widget:
    return Widget(field, (box,), read, lambda value: (field.default if value is None else value,))


_BUILDERS: dict[FieldType, Callable[[Field], Widget]] = {
    FieldType.TEXTS: _texts,
    FieldType.STRING: _string,
    FieldType.CHOICE: _choice,
    FieldType.BOOLEAN: _boolean,
    FieldType.INTEGER: _number,
    FieldType.NUMBER: _number,
    FieldType.BYTES: _bytes,
    FieldType.JSON: _json,
}
