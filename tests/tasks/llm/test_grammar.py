"""Random tokens held to schemas: whatever comes out is JSON, and as the schema says."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import validate
from llguidance import LLMatcher, LLTokenizer

from services.core.errors import Code, ServingError
from services.tasks.llm.grammar import Grammars, LaterEnds
from services.tasks.llm.schema import MAX_SCHEMA, ResponseFormat
from services.tasks.llm.vocabulary import Vocabulary
from tests.tasks.llm.fakes import END, KINDS, SIZE, artefact

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "é", "日"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: dict[str, Any] = {
    "object": {"type": "object", "additionalProperties": False},
    "person": PERSON,
    "tree": TREE,
    "either": {"anyOf": [{"type": "boolean"}, {"const": "no"}, {"type": "null"}]},
    "pattern": {"type": "string", "pattern": "^[a-c]{2,4}$"},
}


@pytest.fixture(scope="module", params=KINDS)
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary.load(artefact(tmp_path_factory.mktemp(request.param), request.param), SIZE)


def form(schema: Any) -> ResponseFormat:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return ResponseFormat(type="json_schema", json_schema=text)


def random_answer(vocabulary: Vocabulary, response_format: ResponseFormat, seed: int, most: int = 600) -> str:
    make = Grammars(vocabulary).constraint(response_format)
    assert make is not None
    constraint, random, tokens = make(), np.random.default_rng(seed), []
    while len(tokens) < most:
        row = random.standard_normal(SIZE).astype(np.float32)
        row[END] += 3
        constraint.mask(row)
        tokens.append(int(row.argmax()))
        constraint.accept(tokens[-1])
        if tokens[-1] == END:
            break
    return vocabulary.text(tokens)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", SCHEMAS)
def test_random_tokens_become_what_the_schema_allows(vocabulary: Vocabulary, name: str, seed: int) -> None:
    validate(json.loads(random_answer(vocabulary, form(SCHEMAS[name]), seed)), SCHEMAS[name])


@pytest.mark.parametrize("seed", range(8))
def test_json_objects_are_objects(vocabulary: Vocabulary, seed: int) -> None:
    answer = random_answer(vocabulary, ResponseFormat(type="json_object"), seed, most=3000)
    assert isinstance(json.loads(answer), dict)


def test_text_is_free(vocabulary: Vocabulary) -> None:
    assert Grammars(vocabulary).constraint(ResponseFormat()) is None
    assert Grammars(vocabulary).schema(ResponseFormat()) is None


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_in_words_is_the_constraint(vocabulary: Vocabulary, name: str) -> None:
    """As vLLM reads it; white space included, of which it would else allow any amount."""
    grammars = Grammars(vocabulary)
    make, words = grammars.constraint(form(SCHEMAS[name])), grammars.schema(form(SCHEMAS[name]))
    assert make is not None
    assert words is not None
    constraint, random = make(), np.random.default_rng(1)
    tokens = LLTokenizer(vocabulary.definition, n_vocab=SIZE, eos_token=[END])
    other = LLMatcher(tokens, LLMatcher.grammar_from_json_schema(words, defaults={"whitespace_flexible": True}))
    for _ in range(100):
        row = np.zeros(SIZE, np.float32)
        constraint.mask(row)
        allowed = np.unpackbits(np.frombuffer(other.compute_bitmask(), np.uint8), bitorder="little")[:SIZE]
        assert (np.isfinite(row) == allowed.astype(bool)).all()
        token = int(random.choice(np.flatnonzero(allowed)))
        if token == END:
            break
        constraint.accept(token)
        other.consume_token(token)


def test_answers_of_one_schema_do_not_meet(vocabulary: Vocabulary) -> None:
    make = Grammars(vocabulary).constraint(form({"const": "aa"}))
    assert make is not None
    one, other = make(), make()
    (quote,) = vocabulary.spelled('x"')[-1:]
    one.accept(quote)
    row = np.zeros(SIZE, np.float32)
    other.mask(row)
    assert row[quote] == 0


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "line 1"),
        ("[]", "object schema"),
        ('{"type": 5}', "type must be"),
        ('{"type": "string", "pattern": "("}', "unclosed group"),
        ('{"$ref": "#/nowhere"}', "does not exist"),
        ('{"$ref": "http://127.0.0.1/x.json"}', "not fetch"),
        ("false", "object schema"),
        ('{"not": {}}', "not"),
        ('{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}', "no text can be"),
        ('{"anyOf": [' * 400 + "{}" + "]}" * 400, "recursion"),
    ],
)
def test_schemas_that_cannot_be_followed_are_refused(vocabulary: Vocabulary, schema: str, why: str) -> None:
    with pytest.raises(ServingError, match=why) as caught:
        Grammars(vocabulary).constraint(form(schema))
    assert (caught.value.code, caught.value.param) == (Code.INVALID_ARGUMENT, "response_format.json_schema")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
        {"type": "string", "pattern": "(?:" + "|".join(f".*{chr(97 + i)}.{{{i + 10}}}z" for i in range(26)) + ")"},
        {"type": "array", "minItems": 1_000_000, "items": {"type": "array", "minItems": 100_000}},
        {
            "type": "object",
            "properties": {f"p{i}": {"type": "string", "pattern": f".*{i}.{{50}}x"} for i in range(1000)},
        },
        {"anyOf": [{"properties": {f"{i}_{j}": {"type": "string"} for j in range(15)}} for i in range(120)]},
    ],
)
def test_hostile_schemas_are_refused_or_cost_little(tmp_path: Path, schema: dict[str, Any]) -> None:
    vocabulary = Vocabulary.load(artefact(tmp_path, "byte-level"), SIZE)
    assert len(json.dumps(schema)) < MAX_SCHEMA
    began = time.monotonic()
    with suppress(ServingError):
        random_answer(vocabulary, form(schema), 0, most=40)
    assert time.monotonic() - began < 10


def test_a_model_without_ends_is_held_to_nothing(tmp_path: Path) -> None:
    folder = artefact(tmp_path, "byte-level", config={}, tokenizer_config={})
    with pytest.raises(ServingError, match="cannot be held to JSON"):
        Grammars(Vocabulary.load(folder, SIZE)).constraint(ResponseFormat(type="json_object"))


def test_ends_come_no_sooner_than_asked_for() -> None:
    constraint = LaterEnds(frozenset({1, 3}), 2)
    for banned in (True, True, False):
        row = np.zeros(5, np.float32)
        constraint.mask(row)
        assert np.flatnonzero(row).tolist() == ([1, 3] if banned else [])
        constraint.accept(0)
