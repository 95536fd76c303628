"""The site: a title, how the server is, and a tab for every task that the server announces."""

from collections.abc import Sequence
from contextlib import nullcontext
from html import escape
from pathlib import Path

import gradio as gr

from gradio_demos.calls import Server
from gradio_demos.tab import add_method, add_models
from gradio_demos.views import find_page
from services.clients import NEVER, AsyncRestClient, RestClient, ServingError
from services.edges.cards import MethodCard, ModelCard, TaskCard

STYLE = Path(__file__).with_name("style.css")

_LOOK_SECONDS = 3.0
"""Between two looks at the server, while a page is open."""

_LONGEST_ACRONYM = 3

_READY = '<p class="state ready">The server is ready.</p>'


def read_server(url: str) -> tuple[tuple[TaskCard, ...], tuple[ModelCard, ...]]:
    """What the server announces.

    Raises:
        ServingError: nobody answers there, after a few tries, or not as a Chorale server does.
    """
    with RestClient(url, timeout=10) as client:
        return client.tasks(), client.models()


def build_site(
    tasks: Sequence[TaskCard], models: Sequence[ModelCard], url: str, grpc: str, certificate: Path | None = None
) -> gr.Blocks:
    """The pages for these tasks.

    Args:
        tasks: what the server announces.
        models: the same.
        url: of its REST.
        grpc: address of its gRPC, as people reach it.
        certificate: of that, if it is TLS.
    """
    client = AsyncRestClient(url, timeout=60)
    server = Server(client, client.url, grpc, certificate)
    watcher = AsyncRestClient(url, timeout=2, retry=NEVER)
    with gr.Blocks(title="Chorale", analytics_enabled=False) as site:
        gr.HTML(f'<h1>Chorale</h1><p class="server">Models served at <code>{escape(url)}</code></p>')
        state = gr.HTML(_READY)
        for task in tasks:
            if methods := [method for method in task.methods if method.kind == "unary"]:
                with gr.Tab(_name(task.name), id=task.name):
                    _add_task(server, task, methods, [model for model in models if model.task == task.name])

        async def look() -> str:
            try:
                away = [task for task, ready in (await watcher.ready()).items() if not ready]
            except ServingError as error:
                return _waiting(error.message)
            return _waiting(f"Not ready yet: {', '.join(away)}.") if away else _READY

        site.load(look, outputs=state, show_progress="hidden", api_visibility="private", queue=False)
        gr.Timer(_LOOK_SECONDS).tick(look, outputs=state, show_progress="hidden", api_visibility="private", queue=False)
    return site


def _add_task(server: Server, task: TaskCard, methods: Sequence[MethodCard], models: Sequence[ModelCard]) -> None:
    """Fill the tab that is open: the models, the task's own page, and the method, or a tab for each of several."""
    add_models(models)
    add_page = find_page(task.name)
    if add_page:
        add_page(server, task, models)
    for method in methods:
        with gr.Tab(_title(method.verb), id=method.verb) if add_page or len(methods) > 1 else nullcontext():
            add_method(server, task, method)


def _waiting(why: str) -> str:
    return f'<p class="state away" role="status">{escape(why)} Waiting for it.</p>'


def _name(task: str) -> str:
    """``language_models`` -> ``Language models``; but ``LLM``."""
    return task.upper() if len(task) <= _LONGEST_ACRONYM else task.replace("_", " ").capitalize()


def _title(verb: str) -> str:
    """``RecognizeEntities`` -> ``Recognize entities``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in verb).split()
    return " ".join(words).capitalize()
