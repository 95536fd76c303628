"""What may come next in an answer: JSON by llguidance, and no end before its time.

A schema is compiled once, when its request is prepared, and bounded: llguidance counts its steps and gives up past a
limit. Masks are computed on the engine's thread, so those limits are also how long others may wait for one.
"""

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from services.core.errors import Code, ServingError
from services.core.generation.records import Constraint, Row
from services.tasks.llm.schema import ResponseFormat
from services.tasks.llm.vocabulary import Vocabulary

_COMPILED = 64
"""Schemas kept: clients tend to send the same ones."""

_LIMITS = {"initial_lexer_fuel": 500_000, "step_lexer_fuel": 50_000, "max_grammar_size": 100_000}
"""A mask takes a tenth of a millisecond, and with these never much more than ten; a schema of 60 kB a quarter of a
second."""

_STYLE = {"whitespace_pattern": r"[ \n\t]{1,20}"}
"""White space between values: unlimited, a model can go on with it for ever."""

_LONGEST_REASON = 200

_REASONS = {"NoExtensionBias": "no text can be what the schema says", "<non-verbose/>": ""}
"""Of llguidance's reasons, those that are no sentences."""

_BIASES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0, -np.inf
).astype(np.float32)
"""For each byte of a mask, what is added to the eight logits it is of."""


class Grammars:
    """The response formats of one model."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        ends = sorted(vocabulary.specials.ends)
        self._tokens = _tokens(vocabulary, ends) if ends else None
        self._matcher = lru_cache(_COMPILED)(self._compile)
        self._styled = lru_cache(_COMPILED)(_styled)

    def constraint(self, form: ResponseFormat) -> Callable[[], Constraint] | None:
        """Makes what holds an answer to the format; None where any text will do.

        Raises:
            ServingError: INVALID_ARGUMENT, the schema is not valid or not supported.
        """
        if form.type == "text":
            return None
        matcher = self._matcher(_schema(form))
        return lambda: JsonConstraint(matcher.deep_copy())

    def schema(self, form: ResponseFormat) -> str | None:
        """The same in words, for engines that have llguidance themselves; of a format that `constraint` has taken."""
        return None if form.type == "text" else self._styled(_schema(form))

    def _compile(self, schema: str) -> LLMatcher:
        if self._tokens is None:
            raise _invalid("this model cannot be held to JSON; ask for text", "response_format.type")
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=_STYLE)
        except ValueError as error:
            raise _invalid(str(error)) from error
        limits = LLParserLimits(**_LIMITS, verbose_errors=False)
        matcher = LLMatcher(self._tokens, grammar, log_level=0, limits=limits)
        if not matcher.is_error():
            matcher.compute_bitmask()  # some schemas prove impossible only now
        if matcher.is_error():
            raise _invalid(matcher.get_error())
        return matcher


class JsonConstraint:
    """Holds one answer to a schema (`services.core.generation.records.Constraint`)."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def mask(self, logits: Row) -> None:
        """Rule out all that would leave the schema."""
        allowed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise _invalid(f"the schema is too complex to follow: {self._matcher.get_error()}")
        logits += _BIASES[allowed].ravel()[: logits.size]

    def accept(self, token: int) -> None:
        """Go on behind this token."""
        self._matcher.consume_token(token)


class LaterEnds:
    """Rules out ends until there are so many tokens (`services.core.generation.records.Constraint`)."""

    def __init__(self, ends: frozenset[int], tokens: int) -> None:
        self._ends = np.array(sorted(ends), np.int64)
        self._left = tokens

    def mask(self, logits: Row) -> None:
        """Rule out the ends, while it is too early."""
        if self._left > 0:
            logits[self._ends] = -np.inf

    def accept(self, token: int) -> None:
        """One less to go."""
        self._left -= 1


def _schema(form: ResponseFormat) -> str:
    return form.json_schema or '{"type": "object"}'


def _styled(schema: str) -> str:
    """With the style where llguidance finds it in a schema, which is an object or would not have been taken."""
    return json.dumps({**json.loads(schema), "x-guidance": _STYLE})


def _tokens(vocabulary: Vocabulary, ends: list[int]) -> LLTokenizer | None:
    try:
        return LLTokenizer(vocabulary.definition, n_vocab=vocabulary.size, eos_token=ends)
    except ValueError:  # a kind of tokenizer that it cannot read
        return None


def _invalid(reason: str, param: str = "response_format.json_schema") -> ServingError:
    for written, meant in _REASONS.items():
        reason = reason.replace(written, meant)
    sentence = " ".join(reason.split())[:_LONGEST_REASON]
    return ServingError(Code.INVALID_ARGUMENT, f"{param}: {sentence}", param)
