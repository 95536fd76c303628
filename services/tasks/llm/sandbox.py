"""Jinja for chat templates: what transformers gives them, in a sandbox, and with an end to every rendering.

A template comes with a model and is not trusted: it reaches no internals of Python, and each turn of its loops, each
call and each character it writes is counted. What its texts take in memory meanwhile is not: a template made for that
can fill it, so serve models of people you know. Knows no conversations.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateSyntaxError, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.core.errors import OperatorError

MAX_STEPS = 200_000
"""Turns of loops and calls of one rendering; a second or so."""

MAX_CHARACTERS = 16_000_000
"""Most that a rendering writes, and that an operator makes of a text."""

_METER = "the meter"
"""Where a rendering's own is: a name that no template can give to something else."""

_COUNTED = "counted"


class RefusedError(TemplateError):
    """What a template says of a conversation that it does not take."""


class _Meter:
    """Counts the steps of one rendering."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SecurityError("the template does not come to an end")


class _Generation(Extension):
    """``{% generation %}`` marks what a model is trained on; for serving it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    # Operators that make much of little.
    intercepted_binops = frozenset({"*", "**", "%"})

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        context[_METER].step()
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        size = max((len(one) for one in (left, right) if isinstance(one, str | list | tuple)), default=0)
        times = next((one for one in (left, right) if isinstance(one, int)), 0)
        if operator == "**" or (operator == "%" and not numbers) or size * times > MAX_CHARACTERS:
            raise SecurityError(f"the template may not use {operator} so")
        return super().call_binop(context, operator, left, right)


def compiled(text: str) -> Callable[..., str]:
    """The template as a function of its variables.

    Raises:
        OperatorError: it is no template.
    """
    environment = _environment()
    try:
        tree = environment.parse(text)
        for loop in tree.find_all(nodes.For):
            # A filter, as templates cannot define one in its place.
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        code = environment.compile(tree)
    except TemplateSyntaxError as error:
        raise OperatorError(
            f"The model's chat template is not valid in line {error.lineno}: {error.message}"
        ) from error
    template = Template.from_code(environment, code, environment.make_globals(None))

    def render(**variables: Any) -> str:
        return _limited(template.generate({**variables, _METER: _Meter()}))

    return render


def _environment() -> _Environment:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters |= {"tojson": _to_json, _COUNTED: _counted}
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return environment


def _limited(parts: Iterable[str]) -> str:
    written, size = [], 0
    for part in parts:
        size += len(part)
        if size > MAX_CHARACTERS:
            raise SecurityError("the template writes too much")
        written.append(part)
    return "".join(written)


@pass_context
def _counted(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        context[_METER].step()
        yield value


def _refuse(message: str) -> None:
    raise RefusedError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
