"""Requests through the pipeline and a generation loop, with a model whose every logit is known."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from services.core.adapters import Adapter, AdapterLibrary
from services.core.catalog import ModelSpec
from services.core.errors import Code, ServingError
from services.tasks.llm.pipeline import GeneratePipeline
from services.tasks.llm.schema import GeneratePart, GenerateRequest, Message, ResponseFormat
from services.tasks.llm.vocabulary import Vocabulary
from tests.tasks.llm.fakes import BOS, END, KINDS, SIZE, SPEC, Model, Scores, artefact, ask, random_scores, run, saying

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["n"],
    "additionalProperties": False,
}
ADAPTER = Adapter("tiny@1", "pirate", "2", "0" * 64, Path("/nowhere"), 8)


class Library(AdapterLibrary):
    wanted: tuple[str, str, str | None] | None = None

    def find(self, base: str, name: str, version: str | None = None) -> Adapter:
        self.wanted = (base, name, version)
        if name != "pirate":
            raise ServingError(Code.NOT_FOUND, f"No adapter {name}.", "model")
        return ADAPTER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefact(tmp_path_factory.mktemp("model"), "byte-level")


def serving(folder: Path, scores: Scores = random_scores, context: int = 2048, **spec: Any) -> GeneratePipeline:
    model = Model(scores, context)
    return GeneratePipeline.load(ModelSpec(**{**SPEC.model_dump(), **spec}), folder, model)  # type: ignore[arg-type]


def refusal(pipeline: GeneratePipeline, **fields: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        pipeline.prepare(GenerateRequest(**fields))
    return caught.value


def joined(parts: list[GeneratePart], index: int) -> str:
    return "".join(part.text for part in parts if part.index == index)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_says_is_answered_whole_and_in_parts(tmp_path: Path, kind: str) -> None:
    vocabulary = Vocabulary.load(artefact(tmp_path, kind), SIZE)
    said = vocabulary.spelled("a hell of é and 日本")
    pipeline = serving(tmp_path, saying(said, prompt=len(vocabulary.encode("hell"))))
    response, parts = ask(pipeline, prompt="hell", temperature=0)
    assert response.choices[0].text.strip() == "a hell of é and 日本"
    assert (response.choices[0].finish_reason, response.model) == ("stop", "tiny@1")
    assert joined(parts, 0) == response.choices[0].text
    prompt, completion = len(vocabulary.encode("hell")), len(said) + 1
    usage = response.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.tokens) == (prompt, completion, prompt + completion)
    assert sum(part.usage.tokens for part in parts) == usage.tokens
    assert [part.usage.prompt_tokens for part in parts] == [prompt] + [0] * (len(parts) - 1)


def test_stop_texts_and_limits_end_answers(folder: Path) -> None:
    said = Vocabulary.load(folder, SIZE).spelled("one two three")
    pipeline = serving(folder, saying(said, prompt=2))
    response, parts = ask(pipeline, prompt="x", temperature=0, stop=(" th", "zzz"))
    assert (response.choices[0].text, response.choices[0].finish_reason) == ("one two", "stop")
    assert joined(parts, 0) == "one two"
    response, _ = ask(pipeline, prompt="x", temperature=0, max_tokens=5)
    assert (response.choices[0].text, response.choices[0].finish_reason) == ("one t", "length")


def test_answers_differ_and_a_seed_repeats_them(folder: Path) -> None:
    fields: dict[str, Any] = {"prompt": "hello", "n": 4, "seed": -5, "max_tokens": 12}
    first, parts = ask(serving(folder), **fields)
    again, _ = ask(serving(folder), **fields)
    alone, _ = ask(serving(folder), **{**fields, "n": 1})
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in again.choices] == [joined(parts, index) for index in range(4)]
    assert len(set(texts)) == 4
    assert alone.choices[0].text == texts[0]
    assert first.usage.completion_tokens <= 48
    assert ask(serving(folder), **{**fields, "seed": None})[0].choices != first.choices


def test_cached_tokens_are_told(folder: Path) -> None:
    pipeline = serving(folder)
    request = GenerateRequest(prompt="hello", max_tokens=3)
    items = pipeline.prepare(request)
    outputs = [run(item.payload, random_scores, cached=2) for item in items]
    assert pipeline.finish(request, items, outputs).usage.cached_tokens == 2


def test_a_prompt_is_counted_once(folder: Path) -> None:
    response, parts = ask(serving(folder), prompt="hello", n=3, max_tokens=2)
    assert response.usage.prompt_tokens == sum(part.usage.prompt_tokens for part in parts) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_json_schema_is_kept_to(folder: Path, seed: int) -> None:
    form = ResponseFormat(type="json_schema", json_schema=json.dumps(SCHEMA))
    response, _ = ask(serving(folder), prompt="x", seed=seed, response_format=form)
    assert response.choices[0].finish_reason == "stop"
    validate(json.loads(response.choices[0].text), SCHEMA)


def test_log_probabilities_are_told_for_each_token(folder: Path) -> None:
    response, parts = ask(serving(folder), prompt="x", logprobs=2, max_tokens=6, ignore_eos=True, temperature=0)
    told = response.choices[0].logprobs
    assert len(told) == 6
    assert all(len(one.top) == 2 and one.logprob == one.top[0].logprob < 0 for one in told)
    assert tuple(one for part in parts for one in part.logprobs) == told


def test_fewest_tokens_and_ignored_ends(folder: Path) -> None:
    ending = serving(folder, saying([END], prompt=2))
    assert ask(ending, prompt="x", temperature=0)[0].usage.completion_tokens == 1
    assert ask(ending, prompt="x", temperature=0, min_tokens=4)[0].usage.completion_tokens == 5
    response, _ = ask(ending, prompt="x", temperature=0, ignore_eos=True, max_tokens=7)
    assert (response.usage.completion_tokens, response.choices[0].finish_reason) == (7, "length")


def test_conversations_end_where_the_model_answers(folder: Path) -> None:
    pipeline = serving(folder)
    (item,) = pipeline.prepare(GenerateRequest(messages=(Message(role="user", content="hell </s>"),)))
    prompt = item.payload.prompt
    assert (prompt[0], END in prompt) == (BOS, False)
    assert Vocabulary.load(folder, SIZE).text(prompt) == "user: hell </s>\nassistant:"


def test_the_models_own_sampling_is_used_where_none_is_asked_for(tmp_path: Path) -> None:
    own = {"temperature": 0.5, "top_k": 7, "top_p": 0.9, "repetition_penalty": 1.2, "unknown": "x"}
    pipeline = serving(artefact(tmp_path, "byte-level", generation_config=own))
    (item,) = pipeline.prepare(GenerateRequest(prompt="x", top_k=0, temperature=0.0))
    sampling = item.payload.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.repetition_penalty) == (0.0, 0, 0.9, 1.2)


@pytest.mark.parametrize(
    ("model", "asked"),
    [("tiny:pirate", ("pirate", None)), ("tiny@1:pirate@2", ("pirate", "2")), ("tiny", None), (None, None)],
)
def test_adapters_are_looked_up_and_named_in_answers(
    folder: Path, model: str | None, asked: tuple[str, str | None] | None
) -> None:
    library = Library(folder)
    engine = Model(random_scores)
    pipeline = GeneratePipeline(SPEC, Vocabulary.load(folder, SIZE), engine, library)  # type: ignore[arg-type]
    (item,) = pipeline.prepare(GenerateRequest(prompt="x", model=model))
    assert library.wanted == (asked and ("tiny@1", *asked))
    assert item.payload.adapter == (ADAPTER if asked else None)
    response, parts = ask(pipeline, prompt="x", model=model, max_tokens=2)
    assert {response.model, *(part.model for part in parts)} == {"tiny@1:pirate@2" if asked else "tiny@1"}


def test_unknown_adapters_are_refused(folder: Path) -> None:
    with_library = GeneratePipeline(SPEC, Vocabulary.load(folder, SIZE), Model(random_scores), Library(folder))  # type: ignore[arg-type]
    for pipeline in (with_library, serving(folder)):
        error = refusal(pipeline, prompt="x", model="tiny:other")
        assert (error.code, error.param) == (Code.NOT_FOUND, "model")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"prompt": "x" * 100}, "prompt: 101 tokens, and tiny@1 takes at most 64"),
        ({"prompt": "x" * 63}, "prompt: 64 tokens, and tiny@1 takes at most 64"),
        ({"messages": (Message(role="user", content="x" * 100),)}, "messages: 118 tokens, and tiny@1 takes at most 64"),
        ({"prompt": "x", "max_tokens": 63}, "max_tokens: 63 tokens, .*room for 62 after a prompt of 2"),
        ({"prompt": "x", "max_tokens": 10**9}, "max_tokens: .*room for 62"),
        ({"prompt": "x", "max_tokens": 3, "min_tokens": 4}, "min_tokens: 4 tokens, and at most 3"),
        ({"prompt": "x", "logit_bias": {SIZE: 1}}, f"logit_bias: the model has no token {SIZE}"),
        ({"prompt": "x", "response_format": ResponseFormat(type="json_object"), "min_tokens": 3}, "go with text only"),
        (
            {"prompt": "x", "response_format": ResponseFormat(type="json_object"), "ignore_eos": True},
            "go with text only",
        ),
        ({"prompt": "x", "response_format": ResponseFormat(type="json_schema", json_schema="{")}, "json_schema: "),
    ],
)
@pytest.mark.parametrize("limited", [{"context": 64}, {"max_tokens": 64}])
def test_what_the_model_cannot_do_is_refused(folder: Path, limited: Any, fields: dict[str, Any], why: str) -> None:
    error = refusal(serving(folder, **limited), **fields)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.param in error.message
    with pytest.raises(ServingError, match=why):
        raise error


def test_without_a_limit_an_answer_may_fill_the_context(folder: Path) -> None:
    (item,) = serving(folder, context=64).prepare(GenerateRequest(prompt="x" * 9))
    assert (item.payload.max_tokens, item.cost) == (54, 64)


def test_a_prompt_of_no_tokens_is_refused(tmp_path: Path) -> None:
    artefact(tmp_path, "byte-level", tokenizer_config={"bos_token": "<s>", "add_bos_token": False})
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "BertNormalizer", "clean_text": True, "lowercase": False}
    tokenizer["normalizer"] |= {"handle_chinese_chars": False, "strip_accents": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "no token is left" in refusal(serving(tmp_path), prompt="\x01").message


def test_closing_frees_the_engine(folder: Path) -> None:
    model = Model(random_scores)
    pipeline = GeneratePipeline.load(SPEC, folder, model)  # type: ignore[arg-type]
    assert pipeline.generator is model
    pipeline.close()
    assert model.closed
