"""The site: a title, how the server is, and a tab per method of every task that the server announces."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr

from gradio_demos.tab import Server, add_tab
from services.clients import NEVER, AsyncRestClient, RestClient, ServingError
from services.edges.cards import ModelCard, TaskCard

STYLE = Path(__file__).with_name("style.css")

_LOOK_SECONDS = 3.0
"""Between two looks at the server, while a page is open."""

_READY = '<p class="state ready">The server is ready.</p>'


def read_server(url: str) -> tuple[tuple[TaskCard, ...], tuple[ModelCard, ...]]:
    """What the server announces.

    Raises:
        ServingError: nobody answers there, after a few tries, or not as a Chorale server does.
    """
    with RestClient(url, timeout=10) as client:
        return client.tasks(), client.models()


def build_site(tasks: Sequence[TaskCard], models: Sequence[ModelCard], url: str, grpc: str) -> gr.Blocks:
    """The pages for these tasks.

    Args:
        tasks: what the server announces.
        models: the same.
        url: of its REST.
        grpc: address of its gRPC, as people reach it.
    """
    server = Server(AsyncRestClient(url, timeout=60), url, grpc)
    watcher = AsyncRestClient(url, timeout=2, retry=NEVER)
    with gr.Blocks(title="Chorale", analytics_enabled=False) as site:
        gr.HTML(f'<h1>Chorale</h1><p class="server">Models served at <code>{escape(url)}</code></p>')
        state = gr.HTML(_READY)
        for task in tasks:
            for method in task.methods:
                if method.kind == "unary":
                    with gr.Tab(_title(method.verb), id=method.verb):
                        add_tab(server, task, method, [model for model in models if model.task == task.name])

        async def look() -> str:
            try:
                await watcher.tasks()
            except ServingError as error:
                return f'<p class="state away" role="status">{escape(error.message)} Waiting for it to come back.</p>'
            return _READY

        gr.Timer(_LOOK_SECONDS).tick(look, outputs=state, show_progress="hidden", api_name=False, queue=False)
    return site


def _title(verb: str) -> str:
    """``RecognizeEntities`` -> ``Recognize entities``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in verb).split()
    return " ".join(words).capitalize()
