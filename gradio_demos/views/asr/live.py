"""The page with the microphone: results appear while people speak.

Gradio's own streaming sends each piece of sound as a file, several at once, in no certain order. So `live.js` sends
them itself, one after the other, and takes the results with the answer.
"""

from base64 import b64decode
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from gradio_demos.calls import Server
from gradio_demos.views.asr.talks import News, Talks
from gradio_demos.widgets import model_choices
from services.clients import ServingError
from services.core.errors import invalid
from services.edges.cards import ModelCard, TaskCard
from services.tasks.asr import STREAM_TRANSCRIBE, StreamConfig, StreamTranscribeRequest, StreamTranscribeResponse

_SCRIPT = Path(__file__).with_name("live.js")

Values = dict[str, Any]
"""Plain values, as JSON has them."""

Function = Callable[[Values], Coroutine[Any, Any, Values]]

_TEMPLATE = """
<div class="live">
  <p class="controls">
    <button type="button" class="switch">Start</button>
    <label>model <select name="model">{models}</select></label>
    <label>language <input name="language" size="6" placeholder="auto" autocomplete="off"></label>
    <label>loudness <meter min="0" max="1" value="0"></meter></label>
  </p>
  <p class="state" role="status">Press Start and speak: grey text may still change, black text stays.</p>
  <div class="said" role="log" aria-live="polite" aria-label="What is said"></div>
  <p class="interim" aria-label="What seems to be said"></p>
</div>
"""


def add_page(server: Server, task: TaskCard, models: Sequence[ModelCard]) -> None:
    """Add the tab."""
    if all(method.verb != STREAM_TRANSCRIBE.verb for method in task.methods):
        return
    choices = model_choices([model.id for model in models])
    options = "".join(f'<option value="{escape(value)}">{escape(name)}</option>' for name, value in choices)
    functions = _functions(Talks(server.client))
    with gr.Tab("Live", id="live"):
        gr.HTML(
            html_template=_TEMPLATE.format(models=options),
            js_on_load=_SCRIPT.read_text(encoding="utf-8"),
            server_functions=functions,
        )


def _functions(talks: Talks) -> list[Function]:
    """What `live.js` calls."""

    @_told
    async def begin(asked: Values) -> Values:
        return {"id": talks.begin(_first(asked))}

    @_told
    async def hear(said: Values) -> Values:
        talk = talks.find(said["id"])
        await talk.say(b64decode(said["sound"]))
        return _plain(talk.news())

    @_told
    async def end(said: Values) -> Values:
        talk = talks.find(said["id"])
        await talk.end()
        return _plain(talk.news())

    return [begin, hear, end]


def _told(function: Function) -> Function:
    """The same; what goes wrong is an answer, too."""

    @wraps(function)
    async def call(values: Values) -> Values:
        try:
            return await function(values)
        except ServingError as error:
            return {"error": error.message}

    return call


def _first(asked: Values) -> StreamTranscribeRequest:
    """The first request of a stream. Raises ServingError."""
    try:
        config = StreamConfig(
            format="s16le", sample_rate=asked["rate"], language=asked["language"] or None, interim_results=True
        )
        return StreamTranscribeRequest(model=asked["model"] or None, config=config)
    except ValidationError as error:
        raise invalid(error) from error


def _plain(news: News) -> Values:
    error = {"error": news.error.message} if news.error else {}
    return {"results": [_result(result) for result in news.results], "over": news.is_over, **error}


def _result(result: StreamTranscribeResponse) -> Values:
    return {"text": result.segment.text, "start": result.segment.start, "final": result.is_final}
