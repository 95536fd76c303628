"""One tab: the widgets of a method, its answer, and the same call for curl, grpcurl and Python. Knows no task."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import shorten
from typing import Any

import gradio as gr

from gradio_demos.calls import Server, add_calls, calls, sentence
from gradio_demos.schema import Field, FieldType, fields_of
from gradio_demos.views import Show, find_view
from gradio_demos.widgets import Widget, fill, read_all, show_all, widget
from services.clients import ServingError
from services.edges.cards import MethodCard, ModelCard, TaskCard


@dataclass(frozen=True)
class Outputs:
    """Where a tab shows what came of a call."""

    message: gr.HTML
    view: gr.HTML
    answer: gr.JSON
    curl: gr.Code
    grpcurl: gr.Code
    python: gr.Code

    def all(self) -> list[gr.components.Component]:
        """In the order in which handlers return them."""
        return [self.message, self.view, self.answer, self.curl, self.grpcurl, self.python]


def add_models(models: Sequence[ModelCard]) -> None:
    """Say what the models are, and how good."""
    gr.HTML("".join(map(_model, models)), elem_classes="models")


def add_method(server: Server, task: TaskCard, method: MethodCard) -> None:
    """Fill the tab that is open with a method."""
    show = find_view(task.name)
    examples = [example for example in task.examples if _fits(example, method)]
    with gr.Row(equal_height=False):
        with gr.Column():
            widgets = _widgets(method, task.models)
            run = gr.Button("Run", variant="primary")
            inputs = [component for one in widgets for component in one.components]
            _add_examples(widgets, inputs, examples)
        with gr.Column():
            outputs = _outputs(calls(server, method, examples[0] if examples else {}), has_view=show is not None)
    run.click(_caller(server, method, widgets, show), inputs, outputs.all(), api_name=method.verb)


def _add_examples(
    widgets: Sequence[Widget], inputs: Sequence[gr.components.Component], examples: Sequence[Mapping[str, Any]]
) -> None:
    """The examples to choose from; the first is filled in."""
    rows = [show_all(widgets, example) for example in examples]
    if rows:
        for component, value in zip(inputs, rows[0], strict=True):
            fill(component, value)
        labels = [_label(example, [one.field for one in widgets]) for example in examples]
        gr.Examples(rows, list(inputs), label="Examples", example_labels=labels, cache_examples=False)


def _widgets(method: MethodCard, models: Sequence[str]) -> list[Widget]:
    fields = fields_of(method.request_schema)
    widgets = [widget(field, models) for field in fields if field.required]
    if len(widgets) < len(fields):
        with gr.Accordion("Options", open=False):
            widgets += [widget(field, models) for field in fields if not field.required]
    return widgets


def _outputs(found: Sequence[str], *, has_view: bool) -> Outputs:
    message = gr.HTML(visible=False)
    view = gr.HTML("<p>The answer comes here.</p>", visible=has_view, elem_classes="view")
    with gr.Accordion("The answer as it came", open=not has_view):
        answer = gr.JSON(show_label=False)
    return Outputs(message, view, answer, *add_calls(found))


def _caller(
    server: Server, method: MethodCard, widgets: Sequence[Widget], show: Show | None
) -> Callable[..., Coroutine[Any, Any, tuple[Any, ...]]]:
    async def call(*values: Any) -> tuple[Any, ...]:
        body: dict[str, Any] = {}
        try:
            body = read_all(widgets, values)
            answer = await server.client.post(method.route, body, idempotent=method.idempotent)
        except ServingError as error:
            return (gr.HTML(sentence(error), visible=True), "", None, *calls(server, method, body))
        return (gr.HTML("", visible=False), _view(show, body, answer), answer, *calls(server, method, body))

    return call


def _view(show: Show | None, body: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """The answer as the task's view has it; a server may be newer than the view."""
    try:
        return show(body, answer) if show else ""
    except (KeyError, TypeError, ValueError):
        return "<p>This answer is not as its view expects; below it stands as it came.</p>"


def _model(model: ModelCard) -> str:
    scores = "; ".join(f"{score.dataset} {score.metric} {score.value:.4g}" for score in model.scores) or "no score"
    facts = escape(" · ".join(filter(None, (scores, model.licence))))
    return f"<p><b>{escape(model.id)}</b> {escape(model.description)} <small>{facts}</small></p>"


def _label(example: Mapping[str, Any], fields: Sequence[Field]) -> str:
    """The first words of an example, and what else it sets; of a file, how large it is."""
    files = {field.name for field in fields if field.type is FieldType.BYTES}
    shown = {name: _size(value) if name in files else value for name, value in example.items()}
    first, *others = shown.items() or [("", "nothing")]
    words = " / ".join(map(str, first[1])) if isinstance(first[1], list) else str(first[1])
    return ", ".join([shorten(words, 60, placeholder="…"), *(f"{name} {value}" for name, value in others)])


def _size(base64: str) -> str:
    return f"a file of {len(base64) * 3 / 4000:.1f} kB"


def _fits(example: Mapping[str, Any], method: MethodCard) -> bool:
    schema = method.request_schema
    return set(schema.get("required", ())) <= set(example) <= set(schema.get("properties", ()))
