"""The page: the conversation, what people may set, and examples. What is sent and shown is `answering`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import gradio as gr

from gradio_demos.calls import Server, add_calls, calls
from gradio_demos.schema import fields_of
from gradio_demos.views.llm.answering import Answerer, answerer
from gradio_demos.widgets import Widget, model_choices, show_all, widget
from services.clients import ServingError
from services.edges.cards import MethodCard, ModelCard, TaskCard
from services.tasks.llm import GENERATE

_OPTIONS = ("model", "temperature", "max_tokens", "seed")
"""Fields of the request that people may set here; the method's own form has all of them."""

_MODES = [("Chat", False), ("Plain completion", True)]

_PRIVATE: Any = {"api_visibility": "private"}
"""These are no methods of the server."""


@dataclass(frozen=True)
class Conversation:
    """What has been said, and where people say more."""

    chat: gr.Chatbot
    facts: gr.HTML
    trouble: gr.HTML
    text: gr.Textbox
    send: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class Settings:
    """How it shall be answered."""

    plain: gr.Radio
    system: gr.Textbox
    options: tuple[Widget, ...]

    def components(self) -> list[gr.components.Component]:
        """Those of the options."""
        return [component for one in self.options for component in one.components]


def add_page(server: Server, task: TaskCard, models: Sequence[ModelCard]) -> None:
    """Add the tab."""
    whole = next(method for method in task.methods if method.verb == GENERATE.verb)
    with gr.Tab("Chat", id="chat"):
        with gr.Row(equal_height=False):
            with gr.Column(scale=2):
                here = _conversation()
                codes = add_calls(calls(server, whole, task.examples[0] if task.examples else {}))
            with gr.Column():
                settings = _settings(whole, models)
                _add_examples(task.examples, here, settings)
        _connect(answerer(server, whole, settings.options), here, settings, codes)
        _keep_fresh(server, task, settings)


def _conversation() -> Conversation:
    # As it is: Markdown could have the browser fetch pictures from anywhere.
    chat = gr.Chatbot(show_label=False, height=420, render_markdown=False, buttons=[], elem_classes="chat")
    facts, trouble = gr.HTML(), gr.HTML()
    text = gr.Textbox(label="text", info="Enter sends it; Shift and Enter begin a new line.", max_lines=8)
    with gr.Row():
        send, stop = gr.Button("Send", variant="primary"), gr.Button("Stop")
    return Conversation(chat, facts, trouble, text, send, stop)


def _settings(whole: MethodCard, models: Sequence[ModelCard]) -> Settings:
    fields = {field.name: field for field in fields_of(whole.request_schema)}
    plain = gr.Radio(_MODES, value=False, label="mode", info="A conversation, or a text that goes on where it ends.")
    system = gr.Textbox(label="system", info="How the model shall behave.")
    options = tuple(widget(fields[name], [model.id for model in models]) for name in _OPTIONS)
    return Settings(plain, system, options)


def _add_examples(examples: Sequence[Mapping[str, Any]], here: Conversation, settings: Settings) -> None:
    """The task's, to choose from; the first is filled in."""
    inputs = [settings.plain, settings.system, here.text, *settings.components()]
    rows = [_row(example, settings.options) for example in examples]
    for component, value in zip(inputs, rows[0] if rows else (), strict=False):
        component.value = value
    if rows:
        labels = [shorten(row[2], 60, placeholder="…") for row in rows]
        gr.Examples(rows, inputs, label="Examples", example_labels=labels, cache_examples=False)


def _row(example: Mapping[str, Any], options: Sequence[Widget]) -> list[Any]:
    """An example as the components have it; of a conversation, what is said last."""
    said = {message["role"]: message["content"] for message in example.get("messages", ())}
    plain = "prompt" in example
    text = example["prompt"] if plain else said.get("user", "")
    return [plain, said.get("system", ""), text, *show_all(options, example)]


def _connect(answer: Answerer, here: Conversation, settings: Settings, codes: Sequence[gr.Code]) -> None:
    """What happens when people press something."""
    inputs = [here.chat, settings.plain, here.text, settings.system, *settings.components()]
    outputs = [here.chat, here.text, here.trouble, here.facts, *codes]
    sent = gr.on([here.send.click, here.text.submit], answer, inputs, outputs, show_progress="hidden", **_PRIVATE)
    here.stop.click(None, cancels=[sent], **_PRIVATE)
    again = [here.chat, here.trouble, here.facts, settings.system]

    def begin(plain: bool) -> tuple[Any, ...]:
        return [], "", "", gr.Textbox(visible=not plain)

    anew = [here.chat.clear, settings.plain.change]
    gr.on(anew, begin, settings.plain, again, cancels=[sent], queue=False, **_PRIVATE)


def _keep_fresh(server: Server, task: TaskCard, settings: Settings) -> None:
    """Adapters come and go while a server runs: whoever opens the page sees those there are."""

    async def look() -> Any:
        try:
            cards = await server.client.models()
        except ServingError:
            return gr.skip()
        return gr.Dropdown(choices=model_choices([card.id for card in cards if card.task == task.name]))

    (box,) = settings.options[0].components
    gr.on(None, look, outputs=box, show_progress="hidden", queue=False, **_PRIVATE)
