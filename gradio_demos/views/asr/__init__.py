"""Speech recognition: how a recording is shown, and a page that writes down what is being said.

transcript   a recording: its text, where in time somebody speaks, and how sure the model is
live         the page with the microphone
live.js      the same in the browser: microphone, sound in pieces, results
talks        live streams of the people at the page
"""

from gradio_demos.views.asr.live import add_page
from gradio_demos.views.asr.transcript import show

__all__ = ["add_page", "show"]
