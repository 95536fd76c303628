"""A request -> what is generated for it: prompts as ids within the limits, how answers are sampled, how they are read.

Knows requests, texts and limits. Runs nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from services.core.adapters import Adapter
from services.core.catalog import ModelSpec
from services.core.engine import GeneratorLimits
from services.core.errors import Code, ServingError
from services.core.generation.records import Constraint, Form, Generation, SamplingParams
from services.tasks.llm.chat import Chat
from services.tasks.llm.grammar import Grammars, LaterEnds
from services.tasks.llm.reading import Reading
from services.tasks.llm.schema import GenerateRequest
from services.tasks.llm.stopping import Stops
from services.tasks.llm.vocabulary import Vocabulary

_Number = TypeVar("_Number", int, float)


class Planner:
    """Plans for one model."""

    def __init__(self, spec: ModelSpec, vocabulary: Vocabulary, limits: GeneratorLimits) -> None:
        self._model = spec.id
        self._vocabulary = vocabulary
        self._context = min(limits.context, spec.max_tokens, limits.blocks * limits.block_tokens)
        self._chat = Chat(vocabulary)
        self._grammars = Grammars(vocabulary)

    def plan(self, request: GenerateRequest, adapter: Adapter | None) -> list[Generation]:
        """One generation for each answer.

        Raises:
            ServingError: INVALID_ARGUMENT, the model cannot do what is asked for.
        """
        sampling = self._sampling(request)
        constraint = self._constraint(request)
        prompt = self._prompt(request)
        max_tokens = self._max_tokens(request, len(prompt))
        ends = frozenset[int]() if request.ignore_eos else self._vocabulary.specials.ends
        form = Form(ends, request.min_tokens, self._grammars.schema(request.response_format))
        first = Reading(self._vocabulary, Stops(request.stop), len(prompt), ends)
        other = replace(first, prompt_tokens=0)  # the prompt is counted once
        return [
            Generation(
                prompt=prompt,
                max_tokens=max_tokens,
                sampling=replace(sampling, seed=_seed(request.seed, number)),
                reader=(other if number else first).reader,
                constraint=constraint,
                form=form,
                adapter=adapter,
            )
            for number in range(request.n)
        ]

    def _prompt(self, request: GenerateRequest) -> tuple[int, ...]:
        param = "messages" if request.messages else "prompt"
        ids = self._chat.prompt(request.messages) if request.messages else self._vocabulary.encode(request.prompt or "")
        if not ids:
            raise _invalid(param, "no token is left of this text; give some words")
        if len(ids) >= self._context:
            limit = f"{self._model} takes at most {self._context}, the answer included"
            raise _invalid(param, f"{len(ids)} tokens, and {limit}; shorten it")
        return tuple(ids)

    def _max_tokens(self, request: GenerateRequest, prompt: int) -> int:
        room = self._context - prompt
        wanted = room if request.max_tokens is None else request.max_tokens
        if wanted > room:
            limit = f"the context of {self._model} has room for {room} after a prompt of {prompt}"
            raise _invalid("max_tokens", f"{wanted} tokens, and {limit}; ask for fewer")
        if request.min_tokens > wanted:
            raise _invalid("min_tokens", f"{request.min_tokens} tokens, and at most {wanted} come; ask for fewer")
        return wanted

    def _sampling(self, request: GenerateRequest) -> SamplingParams:
        for token in request.logit_bias:
            if not 0 <= token < self._vocabulary.size:
                raise _invalid("logit_bias", f"the model has no token {token}; ids are below {self._vocabulary.size}")
        own = self._vocabulary.recommended
        return SamplingParams(
            temperature=_first(request.temperature, own.temperature, 1.0),
            top_k=_first(request.top_k, own.top_k, 0),
            top_p=_first(request.top_p, own.top_p, 1.0),
            min_p=request.min_p,
            repetition_penalty=_first(request.repetition_penalty, own.repetition_penalty, 1.0),
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            logit_bias=request.logit_bias,
            logprobs=request.logprobs,
        )

    def _constraint(self, request: GenerateRequest) -> Callable[[], Constraint] | None:
        held = self._grammars.constraint(request.response_format)
        if held and (request.min_tokens or request.ignore_eos):
            # JSON ends where it ends: nothing may follow, so nothing could be generated.
            raise _invalid("response_format.type", "min_tokens and ignore_eos go with text only; leave them out")
        if held or not request.min_tokens:
            return held
        return partial(LaterEnds, self._vocabulary.specials.ends, request.min_tokens)


def _first(asked: _Number | None, own: _Number | None, default: _Number) -> _Number:
    """What the request asks for, or the model recommends."""
    return asked if asked is not None else own if own is not None else default


def _seed(seed: int | None, number: int) -> int | None:
    """An answer's own, so that answers differ; the first one's is the request's."""
    if seed is None or number == 0:
        return seed
    return int(np.random.SeedSequence((seed % 2**64, number)).generate_state(1, np.uint64)[0])


def _invalid(param: str, why: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{param}: {why}.", param)
