"""Language models: a chat, or a text that goes on, as it is generated.

page        what people see and may set
answering   a request to the server, and its answer as it comes
turns       a conversation as the page holds it, and the request for what comes next in it
pace        how fast an answer came
"""

from gradio_demos.views.llm.page import add_page

__all__ = ["add_page"]
