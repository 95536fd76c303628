"""A request to the server, and its answer on the page while it comes. Whoever stops reading stops the server's work."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from html import escape
from typing import Any

import gradio as gr

from gradio_demos.calls import Server, calls, sentence
from gradio_demos.views.llm.pace import Answer
from gradio_demos.views.llm.turns import Form, Shown, read, show
from gradio_demos.widgets import Widget, read_all
from services.clients import ServingError
from services.edges.cards import MethodCard
from services.tasks.llm import STREAM_GENERATE, GenerateRequest

_SHOW_SECONDS = 0.05
"""Between two looks at an answer: drawing each token would hold up those that follow."""

_SAME: Any = gr.skip()
"""What the page has already."""

_SAME_CALLS = (_SAME, _SAME, _SAME)

Look = tuple[Any, ...]
"""The conversation, what people type, trouble, how fast it went, and the calls for curl, grpcurl and Python."""

Answerer = Callable[..., AsyncGenerator[Look]]
"""From what people have filled in to what they see."""


def answerer(server: Server, whole: MethodCard, options: Sequence[Widget]) -> Answerer:
    """What the page does with what people send; ``whole`` is the call that gives the same answer in one piece."""

    async def answer(shown: Shown, plain: bool, text: str, system: str, *values: Any) -> AsyncGenerator[Look]:
        found = Answer()
        try:
            form = Form(read(shown), plain, text, system, read_all(options, values))
            request = form.request()
            yield (show(form.asked()), "", "", "", *calls(server, whole, _body(request)))
            async with aclosing(_looks(server, request, found)) as looks:
                async for _ in looks:
                    yield (show(form.answered(found.text)), "", "", _facts(found), *_SAME_CALLS)
        except ServingError as error:
            yield _refused(error) if found.text else _refused(error, shown, text)

    return answer


async def _looks(server: Server, request: GenerateRequest, answer: Answer) -> AsyncGenerator[None]:
    """Something whenever there is more to be shown, and at the end."""
    looked = 0.0
    async with aclosing(server.client.stream(STREAM_GENERATE, request)) as parts:
        async for part in parts:
            answer.take(part)
            if (now := time.monotonic()) - looked >= _SHOW_SECONDS:
                looked = now
                yield
    yield


def _body(request: GenerateRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude_unset=True)


def _facts(answer: Answer) -> str:
    return f'<p class="facts">{escape(answer.facts)}</p>' if answer.facts else ""


def _refused(error: ServingError, shown: Any = _SAME, text: Any = _SAME) -> Look:
    """The trouble, and what there was before, so that people may try again; by default what has come stays."""
    return (shown, text, sentence(error), _SAME, *_SAME_CALLS)
