"""Conversations -> prompts, in the form a model was trained on.

The form is the model's own chat template; without one, a line ``role: content`` for each message and ``assistant:`` for
the answer. What users say stays text: a ``</s>`` or ``<|im_start|>`` in a message is spelled, never obeyed.
"""

import re
from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from services.core.errors import Code, ServingError
from services.tasks.llm.sandbox import RefusedError, compiled
from services.tasks.llm.schema import Message
from services.tasks.llm.vocabulary import Vocabulary

_DEFAULT = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"

# Private characters around what looks like a special token in a message; users' own are taken out.
_START, _END = "\U000f0000", "\U000f0001"

_FAILURES = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""What a template may fail by: its own errors, and those of the Python it is compiled to."""


class Chat:
    """The conversations of one model.

    Raises:
        OperatorError: its template is not valid.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._plain = vocabulary.template is None
        self._render = compiled(vocabulary.template or _DEFAULT)
        longest_first = sorted(vocabulary.controls, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._marked = re.compile(f"{_START}({self._controls.pattern}){_END}|[{_START}{_END}]")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the conversation, up to where the model answers.

        Raises:
            ServingError: INVALID_ARGUMENT, the template does not take such a conversation.
        """
        text = self.text([Message(role=one.role, content=self._mark(one.content)) for one in messages])
        first, *pieces = self._marked.split(text)
        ids = self._vocabulary.obeyed(first)
        for place, piece in enumerate(pieces):
            if piece:  # text and marked tokens take turns; a lone mark leaves None for a token
                ids += self._continued(piece, spelled=place % 2 == 0)
        return self._vocabulary.opened(ids) if self._plain else ids

    def text(self, messages: Sequence[Message]) -> str:
        """The conversation in the model's form."""
        said: list[dict[str, Any]] = [{"role": one.role, "content": one.content} for one in messages]
        variables = {**self._vocabulary.specials.texts, "tools": None, "documents": None}
        try:
            return self._render(messages=said, add_generation_prompt=True, **variables)
        except RefusedError as error:
            message = f"messages: the model's chat template does not take them: {error}"
            raise ServingError(Code.INVALID_ARGUMENT, message, "messages") from error
        except _FAILURES as error:
            message = (
                f"The model's chat template fails on these messages ({type(error).__name__}); give a prompt instead."
            )
            raise ServingError(Code.INVALID_ARGUMENT, message, "messages") from error

    def _mark(self, content: str) -> str:
        content = content.replace(_START, "").replace(_END, "")
        return self._controls.sub(f"{_START}\\g<0>{_END}", content)

    def _continued(self, piece: str, *, spelled: bool) -> list[int]:
        """Ids of a piece that does not begin the text: sentencepiece would put a space before it."""
        encode = self._vocabulary.spelled if spelled else self._vocabulary.obeyed
        line, ids = encode("\n"), encode("\n" + piece)
        return ids[len(line) :] if ids[: len(line)] == line else encode(piece)
