"""The site behind a web server of its own. System fonts: its pages load nothing from anywhere else."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from gradio_demos.site import STYLE, build_site, read_server
from services.core.errors import OperatorError

_USERS = 16
"""Calls under way at once, on each tab."""

_LARGEST_FILE = "64mb"
"""Of what people may upload: ten minutes of uncompressed sound."""


def run_demo(app: FastAPI, host: str, port: int, on_ready: Callable[[], None]) -> None:
    """Serve the pages until SIGINT or SIGTERM.

    Raises:
        OperatorError: the port is taken.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise OperatorError(
            f"port {port} of {host} cannot be listened on ({error.strerror}); choose another"
        ) from error
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn stops, then raises them again for whoever was there before
        signal.signal(number, lambda *_: None)
    with listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        on_ready()
        server.run(sockets=[listener])


def build_app(url: str, grpc: str, certificate: Path | None) -> FastAPI:
    """The web application.

    Raises:
        ServingError: no Chorale server answers at ``url``.
    """
    site = build_site(*read_server(url), url, grpc, certificate)
    site.queue(default_concurrency_limit=_USERS)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",  # legible
    )
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        site,
        "",
        footer_links=[],
        theme=theme,
        css=STYLE.read_text(),
        ssr_mode=False,
        pwa=False,
        run_history=False,
        max_file_size=_LARGEST_FILE,
    )
    return mounted
