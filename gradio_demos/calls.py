"""Calls to the server behind the pages: how they look from elsewhere, and what is said of one that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from services.clients import AsyncRestClient, ServingError
from services.edges import snippets
from services.edges.cards import MethodCard


@dataclass(frozen=True)
class Server:
    """The server behind the pages.

    Args:
        client: talks to it.
        url: where people reach its REST.
        grpc: where they reach its gRPC.
        certificate: of its gRPC or who signed it, if that is TLS.
    """

    client: AsyncRestClient
    url: str
    grpc: str
    certificate: Path | None


def calls(server: Server, method: MethodCard, body: Mapping[str, Any]) -> tuple[str, str, str]:
    """The call for curl, grpcurl and Python."""
    schema = method.request_schema
    return (
        snippets.curl(server.url, method.route, body, schema),
        snippets.grpcurl(server.grpc, method.rpc, body, schema, server.certificate),
        snippets.python(server.url, method.route, body, schema),
    )


def add_calls(found: Sequence[str]) -> list[gr.Code]:
    """A tab for each of them."""
    with gr.Accordion("The same call from elsewhere", open=True):
        return [_code(label, call) for label, call in zip(("curl", "grpcurl", "Python"), found, strict=True)]


def sentence(error: ServingError) -> str:
    """What went wrong, as HTML."""
    return f'<p role="alert" class="error">{escape(error.message)} <small>{escape(error.code)}</small></p>'


def _code(label: str, call: str) -> gr.Code:
    language = "python" if label == "Python" else "shell"
    with gr.Tab(label):  # one line: Gradio multiplies by the height of the first, however often that is wrapped
        return gr.Code(call, language, lines=1, max_lines=12, show_label=False, wrap_lines=True, interactive=False)
